"""Trains any `TokenizerTask` with DeepSpeed: ZeRO 0-2, resume, fidelity beside its baselines, collapse guard.

    figures = train(task, settings, run=Path("runs/tokenizer"), output=Path("weights.safetensors"))

Works alone or under `deepspeed --num_gpus N`; the rows of a step depend on (seed, step) only and are dealt
out to the ranks. Without a GPU no compiled DeepSpeed op is used.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from .settings import Settings
from .training import TokenizerTask
from .usage import Usage, position_cross_entropy, unigram_cross_entropy
from .weights import round_to_half, save_weights


class TrainSettings(Settings):
    """How long and how fast: the `[train]` table."""

    steps: int = Field(2000, ge=1)
    batch: int = Field(16, ge=1, description="items of a step, over all ranks")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    final: float = Field(0.02, ge=0, le=1, description="the last step's rate as a share of the peak (cosine)")
    warmup: int = Field(100, ge=0, description="steps over which the rate rises")
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip: float = Field(1.0, ge=0, description="norm of the gradient; 0 = no clipping")
    stage: int = Field(1, ge=0, le=2, description="ZeRO stage")
    seed: int = 0
    log_every: int = Field(50, ge=1)
    eval_every: int = Field(1000, ge=1)
    save_every: int = Field(1000, ge=1)
    collapse_after: int = Field(500, ge=0, description="steps before usage is judged")
    collapse_below: float = Field(0.1, ge=0, le=1, description="stop if a smaller share of codes is in use")


class Collapse(RuntimeError):
    """Training stopped because too few codes are in use; the message says what to try."""


def train(
    task: TokenizerTask,
    settings: TrainSettings,
    *,
    run: Path,
    output: Path,
    deepspeed_extra: Mapping[str, Any] | None = None,
    resume: bool = True,
) -> dict[str, Any]:
    """Train, write the weights to `output`, and give back the figures.

    Args:
        task: what to train.
        settings: how long and how fast.
        run: folder of checkpoints and of `log.jsonl`.
        output: the .safetensors to write at the end; its .json gets the figures, command and data.
        deepspeed_extra: raw DeepSpeed keys, merged last.
        resume: go on from the newest checkpoint in `run`, if there is one.

    Raises:
        Collapse: after `collapse_after` steps a smaller share of the codes than `collapse_below` is in use.
    """
    return _Trainer(task, settings, run, deepspeed_extra or {}, resume).run(output)


class _Trainer:
    def __init__(
        self, task: TokenizerTask, settings: TrainSettings, run: Path, extra: Mapping[str, Any], resume: bool
    ) -> None:
        import deepspeed  # heavy, and only training needs it

        from unitok.train.engine import device, start

        start()
        self.task, self.settings, self.folder, self.device = task, settings, run, device()
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        if settings.batch % self.world:
            raise ValueError(f"batch {settings.batch} cannot be dealt out to {self.world} ranks evenly")
        self.baselines: dict[str, float] = {}
        self.used = 0.0  # CPU seconds of the steps before a resume
        self.begun = time.process_time()
        self.resuming = resume and (run / "latest").is_file()
        if not self.resuming:  # before DeepSpeed copies the parameters
            torch.manual_seed(settings.seed)
            task.start()
            task.model.eval()
            self.baselines = task.baselines()
        self.engine, *_ = deepspeed.initialize(
            model=task.model.to(self.device),
            model_parameters=task.parameter_groups(settings.lr),
            config=self._derive(extra),
        )
        self.peaks = [group["lr"] for group in self.engine.optimizer.param_groups]
        self.usage = Usage.of(task.quantizer)
        self.console = Console(quiet=self.rank != 0, highlight=False)

    def _derive(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        s = self.settings
        adam = {"lr": s.lr, "betas": list(s.betas), "weight_decay": s.weight_decay, "torch_adam": True}
        return {
            "train_batch_size": s.batch,
            "train_micro_batch_size_per_gpu": s.batch // self.world,
            "gradient_clipping": s.clip,
            "zero_optimization": {"stage": s.stage},
            "optimizer": {"type": "AdamW", "params": adam},
            "steps_per_print": sys.maxsize,
            **extra,
        }

    def run(self, output: Path) -> dict[str, Any]:
        first = self._resume() if self.resuming else 0
        self._say_baselines()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, disable=self.rank != 0) as bar:
            usage = 0.0
            line = bar.add_task("training", total=self.settings.steps, completed=first)
            for step in range(first, self.settings.steps):
                loss = self._step(step)
                usage = self._after(step + 1, loss) or usage
                bar.update(line, completed=step + 1, description=f"loss {loss:.5f}  codes in use {usage:.0%}")
        round_to_half(self.task.model)  # so that the figures are those of the file
        figures = {**self._figures(self.settings.steps), "codes": self._codes()}
        if self.rank == 0:
            self._write(output, figures)
        dist.barrier()
        return figures

    def _step(self, step: int) -> float:
        s = self.settings
        torch.manual_seed(_mix(s.seed, step))  # quantizers draw from the global generator: alike on all ranks
        self.task.before_step(step, s.steps)
        for group, peak in zip(self.engine.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rate(step, s)
        mine = indices(len(self.task.train), s.batch, step, s.seed)[self.rank :: self.world]
        batch = self.task.batch(mine, torch.Generator().manual_seed(_mix(s.seed, step, self.rank + 1)))
        self.engine.train()
        out = self.engine(batch.to(self.device))
        if not bool(torch.isfinite(out.loss)):
            raise FloatingPointError(f"the loss at step {step} is not finite: lower train.lr ({s.lr})")
        self.engine.backward(out.loss)
        self.engine.step()
        self.usage.add(out.ids)
        return float(out.loss.detach())

    def _after(self, step: int, loss: float) -> float | None:
        """Log, judge, save where it is time to; gives the share of codes in use where it was counted."""
        s = self.settings
        share: float | None = None
        if step % s.log_every == 0 or step == s.steps:
            self.usage.gather()
            summary = self.usage.summary()
            self.usage.clear()
            share = summary["usage"]
            self._log({"step": step, "loss": loss, **summary})
            if step >= s.collapse_after and summary["usage"] < s.collapse_below:
                raise Collapse(
                    f"at step {step} only {summary['usage']:.1%} of the codes are in use (perplexity "
                    f"{summary['perplexity']:.0f}), less than {s.collapse_below:.0%}: start from data, lower "
                    f"train.lr ({s.lr}), use fewer codes, or the fsq quantizer, which has no codebook to lose"
                )
        if step % s.eval_every == 0 and step < s.steps:
            self._figures(step)
        if step % s.save_every == 0 and step < s.steps:
            self._save(step)
        return share

    def _figures(self, step: int) -> dict[str, Any]:
        """Fidelity on held-out items beside the baselines; printed and logged."""
        self.task.model.eval()
        fidelity = self.task.fidelity()
        self.task.model.train()
        found = {"fidelity": fidelity, "baselines": self.baselines}
        seconds = self.used + time.process_time() - self.begun
        self._log({"step": step, "cpu_seconds": round(seconds, 1), **found})
        shown = "  ".join(f"{name} {value:.4g}" for name, value in fidelity.items())
        self.console.print(f"step {step}: {shown}")
        self._say_baselines()
        return {**found, "steps": step, "cpu_seconds": round(seconds, 1)}

    def _codes(self) -> dict[str, float]:
        """Use of the codes over the training items, and nats per held-out code of simple models of them."""
        self.task.model.eval()
        train, heldout = (self.task.codes(items) for items in (self.task.train, self.task.heldout))
        usage = Usage.of(self.task.quantizer)
        usage.add(train)
        size = max(self.task.quantizer.parts or (self.task.quantizer.size,))
        rows, held = train.flatten(1), heldout.flatten(1)
        found = {
            **usage.summary(),
            "unigram_nats": unigram_cross_entropy(rows, held, size),
            "position_nats": position_cross_entropy(rows, held, size),
            "bits_per_item": self.task.quantizer.bits * train.shape[1],
        }
        self.console.print("codes: " + "  ".join(f"{name} {value:.4g}" for name, value in found.items()))
        return found

    def _say_baselines(self) -> None:
        lines = "  ".join(f"{name} {value:.4g}" for name, value in self.baselines.items())
        self.console.print(f"  {self.task.headline} of simple ways on the same items: {lines}")

    def _log(self, entry: Mapping[str, Any]) -> None:
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _transient(self) -> dict[str, Tensor]:
        """Buffers that the state dict leaves out (running averages), which an exact resume needs."""
        kept = self.task.model.state_dict().keys()
        return {name: buffer for name, buffer in self.task.model.named_buffers() if name not in kept}

    def _save(self, step: int) -> None:
        state = {
            "step": step,
            "baselines": self.baselines,
            "transient": {name: buffer.cpu() for name, buffer in self._transient().items()},
            "cpu_seconds": self.used + time.process_time() - self.begun,
        }
        self.engine.save_checkpoint(str(self.folder), tag=f"step{step}", client_state=state)
        dist.barrier()
        if self.rank == 0:
            for old in self.folder.glob("step*"):
                if old.name != f"step{step}":
                    shutil.rmtree(old)

    def _resume(self) -> int:
        path, state = self.engine.load_checkpoint(str(self.folder))
        if path is None:
            raise FileNotFoundError(f"{self.folder} has a 'latest' but no checkpoint: remove the folder")
        for name, buffer in self._transient().items():
            buffer.copy_(state["transient"][name])
        self.baselines, self.used = state["baselines"], state["cpu_seconds"]
        self.console.print(f"going on from step {state['step']} of {self.folder}")
        return int(state["step"])

    def _write(self, output: Path, figures: Mapping[str, Any]) -> None:
        task = self.task
        made = {
            "command": Path(sys.argv[0]).name,
            "arguments": [re.sub(r"/[^\s\"',]*/", "", argument) for argument in sys.argv[1:]],  # no folders
            "train": self.settings.model_dump(),
            "world": self.world,
            "device": str(self.device),
            "torch": torch.__version__,
            "parameters": sum(p.numel() for p in task.model.parameters()),
            "data": dict(task.data),
            **figures,
        }
        save_weights(output, task.model, task.config, made)
        self.console.print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")


def rate(step: int, s: TrainSettings) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then cosine down to `final`."""
    if step < s.warmup:
        return (step + 1) / s.warmup
    done = (step - s.warmup) / max(1, s.steps - s.warmup)
    return s.final + (1 - s.final) * 0.5 * (1 + math.cos(math.pi * done))


def indices(count: int, batch: int, step: int, seed: int) -> Tensor:
    """The items [batch] of a step: walks through a fresh shuffle of all items in each epoch."""
    places = range(step * batch, (step + 1) * batch)
    orders: dict[int, Tensor] = {}
    for epoch in {place // count for place in places}:
        orders[epoch] = torch.randperm(count, generator=torch.Generator().manual_seed(_mix(seed, epoch, 7)))
    return torch.stack([orders[place // count][place % count] for place in places])


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
