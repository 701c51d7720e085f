"""The training loop: one class, straight code, hooks as plain functions.

    trainer = Trainer(module, feed, config.train, Path("runs/demo"), kinds=vocabulary.kinds, vocabulary=vocabulary)
    trainer.fit()

A run goes on where its folder's newest checkpoint stands, by itself. Everything that moves is a function of
the step: the rows (`feed`), the learning rate, the random state, which is set anew for each step from (seed,
step, rank). So nothing but the step, the weights and the optimizer has to be kept, and a resumed run repeats
the losses to the bit. SIGTERM finishes the step, saves and leaves with status 0.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unitok import distributed
from unitok.train import metrics
from unitok.train.checkpoint import Checkpoints
from unitok.train.config import TrainConfig
from unitok.train.engine import Batch, Engine
from unitok.train.metrics import Record
from unitok.train.schedule import rate
from unitok.vocabulary import Vocabulary


class Diverged(ArithmeticError):
    """The loss is no longer a number."""


class Feed(Protocol):
    """This rank's micro-batches; `unitok.data.loader.Loader` is one."""

    def __iter__(self) -> Iterator[Batch]:
        """Batches without end, from where the feed stands."""
        ...

    def weight_sum(self, batches: int) -> float:
        """Summed target weight of the next `batches` micro-batches over all ranks."""
        ...

    def state(self) -> dict[str, Any]:
        """Where the feed stands: plain types, the same on every rank."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; an error if it is of other data."""
        ...


@runtime_checkable
class Exports(Protocol):
    """A module that writes its trained weights in a form of its own."""

    def export(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write `weights` (named as in the module) to `folder`."""
        ...


Hook = Callable[["Trainer", str], None]
"""Called with the trainer and one of "start", "step", "heldout", "save", "stop", or what a hook emits, on every rank."""


class Trainer:
    """One run.

    Args:
        module: gives (summed loss, sums [2, kinds]) of a batch.
        feed: micro-batches of this rank.
        config: the `[train]` table.
        folder: of the run: metrics.jsonl, checkpoints/, model/.
        extra: the `[deepspeed]` table.
        kinds: names of the kinds of target.
        vocabulary: lies beside the checkpoints and must be theirs.
        lines: nats to report beside the losses, {kind: {"unigram": ..}}.
        per_item: mean codes per item of a kind, for bits per item.
        heldout: batches for the held-out loss, the same on every rank.
        hooks: see `Hook`.
        unit: what `count` counts.
        count: how much there is in one batch.
    """

    def __init__(
        self,
        module: nn.Module,
        feed: Feed,
        config: TrainConfig,
        folder: str | Path,
        *,
        extra: Mapping[str, Any] | None = None,
        kinds: Sequence[str] = ("all",),
        vocabulary: Vocabulary | None = None,
        lines: Mapping[str, Mapping[str, float]] | None = None,
        per_item: Mapping[str, float] | None = None,
        heldout: Sequence[Batch] = (),
        hooks: Sequence[Hook] = (),
        unit: str = "tokens",
        count: Callable[[Batch], int] = lambda batch: int(batch[0].numel()),
    ) -> None:
        self.engine = Engine(module, config, extra)
        self.feed = feed
        self.config = config
        self.folder = Path(folder)
        self.kinds = tuple(kinds)
        self.lines, self.per_item = dict(lines or {}), dict(per_item or {})
        self.heldout, self.hooks = heldout, tuple(hooks)
        self.unit, self.count = unit, count
        self.checkpoints = Checkpoints(self.folder / "checkpoints", config.keep, vocabulary)
        self.vocabulary = vocabulary
        self.step = 0
        self.last: Record = {}
        self._sinks: list[metrics.Sink] = []
        self._terminated = False

    def fit(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one; then evaluate, save and export.

        Raises:
            Diverged: the loss or the gradient is not finite.
            SystemExit: status 0, after SIGTERM.
        """
        self.resume()
        self._open()
        previous = self._listen()
        try:
            self.emit("start", self._facts())
            batches = iter(self.feed)
            while self.step < self.config.steps:
                self._advance(batches)
                if self._told_to_stop():
                    self.save()
                    self.emit("stop", {"reason": "SIGTERM"})
                    raise SystemExit(0)
                if self.due(self.config.eval_every):
                    self.evaluate()
                if self.due(self.config.save_every):
                    self.save()
            self.export(self.folder / "model")
            self.emit("stop", {"reason": "done"})
        finally:
            for sink in self._sinks:
                sink.close()
            if previous is not None:
                signal.signal(signal.SIGTERM, previous)

    def resume(self) -> None:
        """Go on from the newest checkpoint of the folder; without one, stay at step 0."""
        state = self.checkpoints.restore(self.engine)
        if state is not None:
            self.step = int(state["step"])
            self.feed.restore(state["feed"])

    def evaluate(self) -> Record:
        """The held-out loss by kind; {} without held-out batches."""
        if not self.heldout:
            return {}
        record = metrics.summary(self.engine.evaluate(self.heldout), self.kinds, self.per_item)
        self.emit("heldout", record)
        return record

    def save(self) -> Path:
        """Write a checkpoint of this step."""
        path = self.checkpoints.save(self.engine, self.step, {"step": self.step, "feed": self.feed.state()})
        self.emit("save", {"path": path.name})
        return path

    def export(self, folder: Path) -> None:
        """Write the weights whole, in the module's own form, with the vocabulary; no DeepSpeed to read them."""
        weights = self.engine.weights()  # every rank gathers
        module = self.engine.module
        if distributed.is_main() and isinstance(module, Exports):
            aside = folder.with_name(folder.name + ".tmp")
            shutil.rmtree(aside, ignore_errors=True)
            module.export(weights, aside)
            if self.vocabulary is not None:
                self.vocabulary.save(aside / "unitok.json")
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        distributed.barrier()

    def emit(self, event: str, record: Mapping[str, Any]) -> None:
        """Report: to metrics.jsonl and the other sinks, then to the hooks. Hooks may emit events of their own."""
        self.last = {"event": event, "step": self.step, **record}
        for sink in self._sinks:
            sink.write(self.last)
        for hook in self.hooks:
            hook(self, event)

    def due(self, every: int) -> bool:
        """Whether something is to be done after this step: each `every` steps (0 = never) and at the end."""
        return self.step == self.config.steps or (every > 0 and self.step % every == 0)

    def _advance(self, batches: Iterator[Batch]) -> None:
        """One optimizer step, and its record."""
        started = time.perf_counter()
        c = self.config
        accumulation = self.engine.shape.accumulation
        weight = self.feed.weight_sum(accumulation)
        now = rate(
            self.step,
            steps=c.steps,
            peak=c.lr,
            warmup=c.warmup,
            kind=c.schedule,
            final=c.final,
            decay=c.decay,
        )
        torch.manual_seed(_key(c.seed, self.step, distributed.rank()))
        micro = [next(batches) for _ in range(accumulation)]
        waited = time.perf_counter() - started
        done = self.engine.step(micro, weight, now)
        self.step += 1
        record = metrics.summary(done.sums, self.kinds)
        if not (math.isfinite(done.grad_norm) and bool(done.sums.isfinite().all())):
            raise Diverged(
                f"at step {self.step} the loss is {record['loss']} and the gradient norm {done.grad_norm}: lower "
                f"train.lr (now {c.lr}) or raise train.warmup, and start again from the last checkpoint"
            )
        seconds = time.perf_counter() - started
        units = sum(self.count(batch) for batch in micro) * self.engine.shape.world
        record |= {"lr": now, "grad_norm": done.grad_norm, "seconds": seconds, "memory": metrics.memory()}
        self.emit("step", record | {"per_s": units / seconds, "wait": waited / seconds})

    def _facts(self) -> Record:
        parameters = sum(getattr(p, "ds_numel", p.numel()) for p in self.engine.module.parameters())
        shape = self.engine.shape._asdict()
        return {
            "kinds": list(self.kinds),
            "unit": self.unit,
            "lines": self.lines,
            "parameters": parameters,
            "shape": shape,
            "zero": self.engine.stage,
            "device": str(self.engine.device),
        }

    def _open(self) -> None:
        if not distributed.is_main():
            return
        self._sinks = [metrics.JsonLines(self.folder, self.step)]
        if self.config.progress:
            self._sinks.append(metrics.Bar(self.config.steps, self.step, self.unit))
        if self.config.tensorboard:
            self._sinks.append(metrics.TensorBoard(self.folder, self.step))

    def _listen(self) -> Any:
        """Note SIGTERM instead of dying of it. Only the main thread may; elsewhere nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            return None

        def note(number: int, frame: FrameType | None) -> None:
            self._terminated = True

        return signal.signal(signal.SIGTERM, note)

    def _told_to_stop(self) -> bool:
        """Whether any rank got SIGTERM, so that all of them stop at the same step."""
        told = torch.tensor(int(self._terminated), device=self.engine.device)
        return bool(distributed.reduce_sum(told))


def _key(*numbers: int) -> int:
    """A random seed out of several numbers."""
    text = ",".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % 2**63
