"""DeepSpeed's JSON from a run's `[train]` and `[deepspeed]` tables. Neither torch nor deepspeed here.

The `[deepspeed]` table is merged last and may set anything DeepSpeed knows. A top-level key that it does
not know is an error of ours: DeepSpeed itself ignores it and trains on, at another stage than was asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from unitok.strict import merge
from unitok.train.config import TrainConfig

KNOWN = frozenset(
    """train_batch_size train_micro_batch_size_per_gpu gradient_accumulation_steps
    managed_gradient_accumulation optimizer zero_optimization zero_allow_untested_optimizer
    zero_force_ds_cpu_optimizer bf16 fp16 torch_autocast data_types gradient_clipping communication_data_type
    seq_parallel_communication_data_type prescale_gradients gradient_predivide_factor gradient_allreduce_op
    disable_allgather disable_python_gc dump_state steps_per_print wall_clock_breakdown memory_breakdown
    comms_logger flops_profiler activation_checkpointing checkpoint aio compile timers tensor_parallel
    expert_parallel sequence_parallel_size use_data_before_expert_parallelism tensorboard wandb csv_monitor
    comet log_level weight_quantization datastates_ckpt dataloader_drop_last
    """.split()  # noqa: SIM905 - a table of words reads better than a list of strings
)
OURS = {  # keys that would fight with the run's own tables -> what to set instead
    "scheduler": "train.schedule",
    "train_batch_size": "train.rows",
    "train_micro_batch_size_per_gpu": "train.micro_rows",
    "gradient_accumulation_steps": "train.micro_rows",
    "managed_gradient_accumulation": "train.micro_rows",
    "gradient_clipping": "train.clip",
}


TABLES = ("optimizer", "zero_optimization", "bf16", "fp16", "data_types", "checkpoint")


class Shape(NamedTuple):
    """How a step's rows are divided: `micro` rows x `accumulation` forwards x `world` ranks."""

    micro: int
    accumulation: int
    world: int


def shape(config: TrainConfig, world: int) -> Shape:
    """Divide a step's rows over ranks and micro-batches.

    Raises:
        ValueError: the rows do not divide evenly.
    """
    share, rest = divmod(config.rows, world)
    if rest:
        raise ValueError(
            f"train.rows {config.rows} do not divide over {world} ranks: make train.rows a multiple of {world}"
        )
    micro = min(config.micro_rows or share, share)
    if share % micro:
        raise ValueError(
            f"{share} rows a rank (train.rows {config.rows} / {world} ranks) are no multiple of "
            f"train.micro_rows {micro}: choose a divisor of {share}"
        )
    return Shape(micro, share // micro, world)


def derive(config: TrainConfig, extra: Mapping[str, Any], *, world: int, cuda: bool) -> dict[str, Any]:
    """The whole DeepSpeed configuration.

    Args:
        config: the `[train]` table.
        extra: the `[deepspeed]` table, merged last.
        world: how many ranks.
        cuda: whether the ranks have CUDA devices.

    Raises:
        ValueError: a top-level key of `extra` is unknown to DeepSpeed, or belongs in `[train]`.
    """
    check(extra)
    micro, accumulation, _ = shape(config, world)
    decay = {"weight_decay": config.weight_decay, "betas": list(config.betas)}
    # torch_adam: DeepSpeed's own Adams are compiled on first use, which needs a compiler.
    params: dict[str, Any] = {"lr": config.lr, "torch_adam": True, **decay}
    if config.optimizer == "muon":
        params |= {"muon_lr": config.muon_lr, "adam_lr": config.lr, "momentum": 0.95}
    zero: dict[str, Any] = {"stage": 2, "contiguous_gradients": True, "overlap_comm": cuda}
    zero |= {"reduce_bucket_size": int(2e8), "allgather_bucket_size": int(2e8)}
    stage = dict(extra.get("zero_optimization", {})).get("stage", 2)
    if config.optimizer == "muon":
        _check_muon(config, stage)
        zero["reduce_scatter"] = stage != 3  # DeepSpeed refuses both together
    derived: dict[str, Any] = {
        "train_batch_size": config.rows,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accumulation,
        "optimizer": {"type": "Muon" if config.optimizer == "muon" else "AdamW", "params": params},
        "zero_optimization": zero,
        "bf16": {"enabled": config.precision == "bf16" or (config.precision == "auto" and cuda)},
        # Without this, gradients of bf16 parameters also accumulate in bf16.
        "data_types": {"grad_accum_dtype": "fp32"},
        # DeepSpeed clips at 1.0 when nothing is said.
        "gradient_clipping": config.clip,
        "checkpoint": {"tag_validation": "Fail"},
        "steps_per_print": 10**9,
        "log_level": "warning",
    }
    return merge(derived, extra)


def check(extra: Mapping[str, Any]) -> None:
    """Refuse top-level keys of `[deepspeed]` that DeepSpeed would ignore, or that `[train]` decides."""
    for key in extra:
        if key in OURS:
            raise ValueError(
                f"deepspeed.{key} would fight with the run's own tables: set {OURS[key]} instead"
            )
        if key not in KNOWN:
            near = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.5)
            hint = f"did you mean deepspeed.{near[0]}?" if near else f"known: {', '.join(sorted(KNOWN))}"
            raise ValueError(f"deepspeed.{key} is no key of DeepSpeed's, which would ignore it: {hint}")
        if key in TABLES and not isinstance(extra[key], Mapping):
            raise ValueError(
                f"deepspeed.{key} = {extra[key]!r} is no table: write deepspeed.{key}.name = value"
            )
    params = extra.get("optimizer", {}).get("params", {})
    for name in ("lr", "muon_lr", "adam_lr"):
        if name in params:
            ours = "train.muon_lr" if name == "muon_lr" else "train.lr"
            raise ValueError(f"deepspeed.optimizer.params.{name} would be overwritten each step: set {ours}")


def _check_muon(config: TrainConfig, stage: int) -> None:
    """Under ZeRO the norm is that of Muon's orthogonalised update, about 30 where Adam's is 1."""
    if stage > 0 and config.clip > 0:
        raise ValueError(
            f"train.clip {config.clip} with Muon under ZeRO {stage} would shrink every update, not only "
            "exploding ones: set train.clip = 0 or deepspeed.zero_optimization.stage = 0"
        )
