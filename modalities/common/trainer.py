"""Trains any `TokenizerTask` with `unitok.train.Trainer`: fidelity beside its baselines, collapse guard, resume.

    figures = train(task, settings, run=Path("runs/tokenizer"), output=Path("weights.safetensors"))

Works alone or under `deepspeed --num_gpus N`, under ZeRO 0 to 2. What a step sees is a function of (seed,
step), and running averages lie in the checkpoints, so a run that goes on gives the weights of one that never
stopped. The file at the end is judged as it stands, rounded to half precision.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import Field

from unitok.strict import Strict
from unitok.train.checkpoint import Checkpoints
from unitok.train.config import TrainConfig
from unitok.train.derive import check
from unitok.train.engine import device, start
from unitok.train.trainer import Trainer

from .feed import Items
from .stage import stage
from .trainable import Trainable
from .training import TokenizerTask


class TrainSettings(Strict):
    """How long and how fast: the `[train]` table. What is not here, `unitok.train.TrainConfig` has no use for."""

    steps: int = Field(2000, ge=1)
    batch: int = Field(16, ge=1, description="items of a step, over all ranks")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    final: float = Field(0.02, ge=0, le=1, description="the last step's rate as a share of the peak (cosine)")
    warmup: int = Field(100, ge=0, description="steps over which the rate rises")
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip: float = Field(1.0, ge=0, description="norm of the gradient; 0 = no clipping")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the weights' running average, 0 = none")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast; parameters stay in fp32")
    stage: int = Field(1, ge=0, le=2, description="ZeRO stage")
    seed: int = 0
    log_every: int = Field(50, ge=1, description="steps over which the use of the codes is counted")
    eval_every: int = Field(1000, ge=1)
    save_every: int = Field(1000, ge=1)
    warn_below: float = Field(0.7, ge=0, le=1, description="warn at less than this share of the best usage")
    collapse_after: int = Field(500, ge=0, description="steps before usage is judged")
    collapse_below: float = Field(0.1, ge=0, le=1, description="stop if a smaller share of codes is in use")

    def config(self) -> TrainConfig:
        """The same for the trainer; parameters in fp32, for a codebook loses too much in bf16."""
        shared = self.model_dump(include=set(TrainConfig.model_fields) - {"precision"})
        return TrainConfig(rows=self.batch, precision="fp32", schedule="cosine", **shared)


ADVICE = (
    "start from data, lower train.lr, use fewer codes, try cvq, an entropy loss or rotation, or the fsq "
    "quantizer, which has no codebook to lose"
)


class Collapse(RuntimeError):
    """Training stopped because too few codes are in use; the message says what to try."""


def train(
    task: TokenizerTask,
    settings: TrainSettings,
    *,
    run: Path,
    output: Path,
    deepspeed_extra: Mapping[str, Any] | None = None,
    init: Path | None = None,
    freeze: Sequence[str] = (),
) -> dict[str, Any]:
    """Train, going on from the newest checkpoint in `run` if there is one, and write the weights to `output`.

    Args:
        task: what to train.
        settings: how long and how fast.
        run: folder of metrics.jsonl, checkpoints/ and model/.
        output: the .safetensors to write at the end; its .json gets the figures, command and data.
        deepspeed_extra: raw DeepSpeed keys, merged last.
        init: weights of an earlier stage, which must fit; a run that goes on does not read them again.
        freeze: parts of the network that stay as they are ("encoder", "quantizer").

    Returns:
        The figures on the main rank; {} on the others.

    Raises:
        Collapse: after `collapse_after` steps a smaller share of the codes than `collapse_below` is in use.
        Diverged: the loss is no longer a number.
        ValueError, OSError: an `output` that is no .safetensors file or cannot be written.
    """
    _writable(output)
    start()  # already the start from data speaks with the other ranks
    rank, world = dist.get_rank(), dist.get_world_size()
    if settings.batch % world:
        raise ValueError(f"train.batch {settings.batch} cannot be dealt out to {world} ranks evenly")
    fresh = Checkpoints(run / "checkpoints").newest() is None
    stage(task.model, init if fresh else None, freeze)
    module = Trainable(
        task,
        settings.steps,
        output.name,
        _made(task, settings, world),
        ema=settings.ema,
        bf16=settings.precision == "bf16",
    )
    if fresh:
        module.begin(settings.seed, from_data=init is None)  # before DeepSpeed copies the parameters
    check(extra := dict(deepspeed_extra or {}))
    zero = extra["zero_optimization"] = {"stage": settings.stage, **extra.get("zero_optimization", {})}
    if zero["stage"] > 2:
        raise ValueError(
            f"deepspeed.zero_optimization.stage = {zero['stage']} would cut up the network that is judged while it "
            "trains: a tokenizer trains under ZeRO 0, 1 or 2"
        )
    trainer = Trainer(
        module,
        Items(task, settings.batch, settings.seed, rank, world),
        settings.config(),
        run,
        extra=extra,
        kinds=("loss",),
        hooks=[Watch(module, settings)],
        unit="items",
        count=lambda batch: len(batch[0]),
    )
    trainer.fit()
    if rank == 0:
        _place(run / "model" / output.name, output)
    return module.figures


class Watch:
    """The trainer's hook: how the codes are used, fidelity beside its baselines, a stop on collapse."""

    def __init__(self, module: Trainable, settings: TrainSettings) -> None:
        self.module, self.settings = module, settings
        self.counted = 0  # the step of the last count
        self.usage: float | None = None
        self.warned = False

    def __call__(self, trainer: Trainer, event: str) -> None:
        """See `unitok.train.trainer.Hook`."""
        main = dist.get_rank() == 0
        if event == "start":
            self.counted = trainer.step
            if main:
                self._say_baselines()
        if event == "step":
            self.module.after_step()
            if trainer.due(self.settings.log_every):
                parts = self.module.take_parts(trainer.step - self.counted)
                if parts:
                    trainer.emit("parts", parts)
                self._count(trainer)
            if main and trainer.due(self.settings.eval_every):
                self._judge(trainer)
        if event == "stop" and self.module.figures:
            self._say(f"the file, in half precision ({trainer.step} steps)", self.module.figures["fidelity"])
            self._say_baselines()
            self._say("codes", self.module.figures["codes"])

    def _count(self, trainer: Trainer) -> None:
        """The use of the codes since the last count; every rank must call."""
        s, counter = self.settings, self.module.usage
        counter.gather()
        found = counter.summary()
        counter.clear()
        if not found.get("seen"):  # continuous latents have no codes, a stage before the codebook uses none
            self.counted = trainer.step
            return
        self.usage = found["usage"]
        trainer.emit("codes", found)
        whole = (
            trainer.step - self.counted >= s.log_every
        )  # after a resume and at the end it may be fewer steps
        self.counted = trainer.step
        best = self.module.best = max(self.module.best, found["usage"])
        if whole and found["usage"] < s.warn_below * best and not self.warned and dist.get_rank() == 0:
            self.warned = True
            print(
                f"warning: at step {trainer.step} {found['usage']:.1%} of the codes are in use, down from "
                f"{best:.1%}: the codebook may be collapsing; {ADVICE} (train.lr is {s.lr})",
                flush=True,
            )
        if whole and trainer.step >= s.collapse_after and found["usage"] < s.collapse_below:
            raise Collapse(
                f"at step {trainer.step} only {found['usage']:.1%} of the codes are in use (perplexity "
                f"{found['perplexity']:.0f}), less than {s.collapse_below:.0%}: {ADVICE} (train.lr is {s.lr})"
            )

    def _judge(self, trainer: Trainer) -> None:
        found = self.module.fidelity()
        seconds = round(self.module.seconds, 1)
        trainer.emit(
            "fidelity", {"fidelity": found, "baselines": self.module.baselines, "cpu_seconds": seconds}
        )
        used = "" if self.usage is None else f"  codes in use {self.usage:.0%}"
        self._say(f"step {trainer.step}{used} ", found)
        self._say_baselines()

    def _say_baselines(self) -> None:
        self._say(f"  {self.module.task.headline} of simple ways on the same items:", self.module.baselines)

    def _say(self, what: str, figures: Mapping[str, float]) -> None:
        print(what, "  ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


def _made(task: TokenizerTask, settings: TrainSettings, world: int) -> dict[str, Any]:
    """How the weights come to be: program, settings and machine."""
    return {
        "command": Path(sys.argv[0]).name,
        "arguments": [re.sub(r"/[^\s\"',]*/", "", argument) for argument in sys.argv[1:]],  # no folders
        "train": settings.model_dump(),
        "world": world,
        "device": str(device()),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in task.model.parameters()),
    }


def _writable(output: Path) -> None:
    """Refuse a file that could not be written at the end, before anything is trained."""
    if output.suffix != ".safetensors":
        raise ValueError(f"output {output} is no .safetensors file: give it that ending")
    if output.is_dir():
        raise ValueError(f"output {output} is a folder: name a file in it")
    output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(output.parent, os.W_OK):
        raise PermissionError(f"output {output} cannot be written: its folder takes no files, name another")


def _place(made: Path, output: Path) -> None:
    """Copy a weight file and the description beside it to where they were asked for."""
    output.parent.mkdir(parents=True, exist_ok=True)
    for source, target in ((made, output), (made.with_suffix(".json"), output.with_suffix(".json"))):
        aside = target.with_name(target.name + ".part")  # a broken copy leaves the old file whole
        shutil.copyfile(source, aside)
        aside.replace(target)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)", flush=True)
