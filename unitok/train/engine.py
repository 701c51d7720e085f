"""DeepSpeed, and all that is peculiar to it. The one file that imports it.

    engine = Engine(module, config.train, config.deepspeed)
    done = engine.step(batches, weight=global_weight, rate=3e-3)     # done.sums [2, kinds], done.grad_norm

`module(*batch) -> (summed loss, sums [2, kinds])`. The gradient is that of the summed loss over the step's
*global* weight, exact in tokens however unevenly ranks and micro-batches are masked: DeepSpeed divides by
the accumulation and averages over ranks, so each summed loss is multiplied by world x accumulation / weight.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import deepspeed
import torch
import torch.distributed as dist
from torch import Tensor, nn

from unitok import distributed
from unitok.train.config import TrainConfig
from unitok.train.derive import derive, shape

Batch = Sequence[Any]
"""The arguments of one forward: tensors, mappings of tensors, or None, without device."""


@runtime_checkable
class Grouped(Protocol):
    """A module that divides its parameters into groups itself."""

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Optimizer groups at the peak rate `lr`.

        A group's own "lr" moves with the schedule, its "weight_decay" stays; what it leaves out is the run's.
        """
        ...


class Done(NamedTuple):
    """What a step gave: sums [2, kinds] over all ranks (float64, on CPU), and the norm before clipping."""

    sums: Tensor
    grad_norm: float


class Engine:
    """A module under DeepSpeed.

    Args:
        module: gives (summed loss, sums [2, kinds]).
        config: the `[train]` table.
        extra: the `[deepspeed]` table.
    """

    def __init__(
        self, module: nn.Module, config: TrainConfig, extra: Mapping[str, Any] | None = None
    ) -> None:
        start()
        self.shape = shape(config, distributed.world())
        self.device = device()
        if config.optimizer == "muon" and self.device.type == "cpu":
            torch.compiler.set_stance(
                "force_eager"
            )  # DeepSpeed's Muon would be compiled, which needs a compiler
        settings = derive(config, extra or {}, world=self.shape.world, cuda=self.device.type == "cuda")
        divided = (
            module.parameter_groups(config.lr)
            if isinstance(module, Grouped)
            else groups(module, config.weight_decay)
        )
        self._engine, *_ = deepspeed.initialize(model=module, model_parameters=divided, config=settings)
        self._engine._copy_recovery_script = lambda path: None  # weights are exported; see Trainer.export
        self.stage: int = self._engine.zero_optimization_stage()
        peak = settings["optimizer"]["params"]["lr"]
        self._scales = [group["lr"] / peak for group in self._groups]
        self._settings = [{k: v for k, v in group.items() if k != "params"} for group in self._groups]

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self._engine.optimizer.param_groups)

    @property
    def module(self) -> nn.Module:
        """The module that is trained."""
        return cast("nn.Module", self._engine.module)

    def step(self, batches: Iterable[Batch], weight: float, rate: float) -> Done:
        """One optimizer step over this rank's micro-batches.

        Args:
            batches: as many as the accumulation.
            weight: summed weight of the step's targets, over all ranks and micro-batches.
            rate: the learning rate.

        Raises:
            ValueError: another number of micro-batches than the accumulation.
        """
        for group, scale in zip(self._groups, self._scales, strict=True):
            group["lr"] = rate * scale
        share = self.shape.world * self.shape.accumulation / max(weight, 1e-9)
        self._engine.train()
        total: Tensor | None = None
        norm: float | None = None
        count = 0
        for count, batch in enumerate(batches, start=1):  # noqa: B007 - the last count is asked for below
            loss, sums = self._engine(*self._move(batch))
            self._engine.backward(loss * share)
            total = sums.double() if total is None else total + sums.double()
            if self.stage == 0 and count == self.shape.accumulation:
                norm = self._plain_norm()  # stage 0 keeps none
            self._engine.step()
        if total is None or count != self.shape.accumulation:
            raise ValueError(f"{count} micro-batches came: a step here takes {self.shape.accumulation}")
        if norm is None:
            norm = float(self._engine.get_global_grad_norm())
        return Done(distributed.reduce_sum(total).cpu(), norm)

    @torch.no_grad()
    def evaluate(self, batches: Sequence[Batch]) -> Tensor:
        """Sums [2, kinds] (float64, on CPU) over batches that are divided among the ranks.

        Args:
            batches: the same on every rank.
        """
        if not batches:
            raise ValueError("evaluate() was given no batch: bring at least one")
        world, mine = self.shape.world, distributed.rank()
        total: Tensor | None = None
        self._engine.eval()
        for first in range(0, len(batches), world):
            # Every rank runs equally often, or ZeRO 3 would wait for ever; a surplus run counts nothing.
            at = first + mine
            _, sums = self._engine(*self._move(batches[min(at, len(batches) - 1)]))
            counted = sums.double() * (at < len(batches))
            total = counted if total is None else total + counted
        self._engine.train()
        return distributed.reduce_sum(cast("Tensor", total)).cpu()

    def save(self, folder: Path, tag: str) -> list[Exception]:
        """Write every rank's part of a checkpoint to `folder/tag`; every rank must call.

        Returns:
            What the disk refused on this rank. An error raised inside DeepSpeed would leave the other ranks
            waiting for this one, so errors are gathered and the collectives go on.
        """
        writer = self._engine.checkpoint_engine
        plain = writer.save
        failures: list[Exception] = []

        def careful(state_dict: dict[str, Any], path: str) -> None:
            try:
                plain(state_dict, path)
            except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
                failures.append(error)

        writer.save = careful
        try:
            # An empty `universal_checkpoint_info` is what conversion to another world size asks for.
            self._engine.save_checkpoint(
                str(folder), tag=tag, client_state={"universal_checkpoint_info": {}}, save_latest=False
            )
        finally:
            writer.save = plain
        return failures

    def load(self, folder: Path, tag: str, universal: bool = False) -> None:
        """Read this rank's part of `folder/tag`.

        Args:
            folder: of the checkpoints.
            tag: name of one.
            universal: it is in DeepSpeed's universal form. DeepSpeed must not train on in that mode (ZeRO 3
                would then save incomplete checkpoints), so it is left at once.
        """
        self._engine._config.load_universal_checkpoint = universal
        try:
            path, _ = self._engine.load_checkpoint(str(folder), tag=tag)
        finally:
            self._engine._config.load_universal_checkpoint = False
        if path is None:
            raise FileNotFoundError(f"{folder / tag} holds no checkpoint of DeepSpeed: choose another folder")
        # The configuration decides, not the checkpoint; and ZeRO 3 gives every group of a universal one the
        # settings of the first, and every state one and the same step tensor, which would count too fast.
        for group, settings in zip(self._groups, self._settings, strict=True):
            group.update(settings)
        for state in self._engine.optimizer.state.values() if universal and self.stage == 3 else ():
            state["step"] = state["step"].clone()

    def weights(self) -> dict[str, Tensor]:
        """All parameters whole, float32 on CPU, on the main rank; {} on the others. Every rank must call."""
        whole: dict[str, Tensor] = {}
        for name, parameter in self.module.named_parameters():
            if self.stage == 0 or (
                self.stage < 3 and not parameter.requires_grad
            ):  # no copy of what is frozen
                value = parameter.detach()
            else:
                value = deepspeed.utils.safe_get_full_fp32_param(parameter)
            if distributed.is_main():
                whole[name] = value.detach().float().cpu().clone()
        return whole

    def _plain_norm(self) -> float:
        """Gradient norm without ZeRO: after the last backward every rank holds the mean gradient whole."""
        norm = self._engine.get_global_grad_norm() if self._engine.bfloat16_enabled() else None
        if norm is not None:
            return float(norm)
        gradients = [p.grad.float() for p in self.module.parameters() if p.grad is not None]
        return float(nn.utils.get_total_norm(gradients))

    def _move(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self.device, non_blocking=True)
        if isinstance(value, Mapping):
            return {key: self._move(item) for key, item in value.items()}
        return None if value is None else tuple(self._move(item) for item in value)


def device() -> torch.device:
    """Where this rank computes."""
    if torch.cuda.is_available():
        return torch.device("cuda", distributed.local_rank())
    return torch.device("cpu")


def start() -> None:
    """Join the other ranks; without a launcher, a world of one. Calling it again does nothing."""
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)  # DeepSpeed's calls, once a step
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(device())
    else:
        # DeepSpeed would compile its shared-memory collectives here, which needs g++ and ninja.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        ranks = int(os.environ.get("LOCAL_SIZE", "1"))  # set by the launcher
        if ranks > 1 and "OMP_NUM_THREADS" not in os.environ:
            # Each rank would take every core, and ranks that share cores slow each other down tenfold.
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks))
    if not dist.is_initialized() and distributed.world() == 1:
        # An in-process store instead of a port: two runs on one machine cannot collide.
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group("nccl" if cuda else "gloo", store=store, rank=0, world_size=1)
        os.environ.setdefault("LOCAL_RANK", "0")
    deepspeed.init_distributed(
        dist_backend="nccl" if cuda else "gloo", auto_mpi_discovery=False, verbose=False
    )
    if distributed.world() > 1:
        atexit.unregister(_leave)  # or a second start would leave twice
        atexit.register(_leave)


def _leave() -> None:
    """Leave the other ranks before the interpreter goes: their threads must not outlive it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: matrices decay; norms, id tables and side channels do not."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.dim() >= 2 and "embed_" not in name
            (decayed if matrix else kept).append(parameter)
    found = ((decayed, weight_decay), (kept, 0.0))
    return [{"params": members, "weight_decay": decay} for members, decay in found if members]
