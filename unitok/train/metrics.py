"""What a run reports: a JSON line per step, a progress bar on the main rank, TensorBoard on request.

    {"event": "start", "step": 0, "kinds": [...], "lines": {"image": {"unigram": 5.9}}, ...}
    {"event": "step", "step": 1, "loss": 7.1, "nats": {"text": 6.9, ...}, "per_s": 5100, ...}
    {"event": "heldout", "step": 100, "loss": 4.2, "nats": {...}, "bits_per_item": {...}}

Nats are means per code, weighted as in the loss. Bits per item are nats per code x codes per item / ln 2.
`per_s` is tokens (or what the trainer counts) per second over all ranks, `wait` the share of the step spent
waiting for data, `memory` the peak in MiB, `grad_norm` the norm before clipping.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

Record = dict[str, Any]
FILE = "metrics.jsonl"


def summary(sums: Tensor, kinds: Sequence[str], per_item: Mapping[str, float] | None = None) -> Record:
    """Means from sums [2, kinds]: "loss" over all kinds, "nats" of each kind that occurs, "weight" of it.

    Args:
        sums: weighted nats and weights, by kind.
        kinds: names of the columns.
        per_item: mean codes per item of a kind; gives "bits_per_item".
    """
    nats, weight = sums.tolist()
    total = sum(weight)
    seen = {name: (n, w) for name, n, w in zip(kinds, nats, weight, strict=True) if w > 0}
    record: Record = {
        "loss": sum(nats) / total if total > 0 else None,
        "nats": {name: n / w for name, (n, w) in seen.items()},
        "weight": {name: w for name, (_, w) in seen.items()},
    }
    if per_item:
        means = record["nats"].items()
        record["bits_per_item"] = {k: n * per_item[k] / math.log(2) for k, n in means if k in per_item}
    return record


class Sink(Protocol):
    """Somewhere that records go."""

    def write(self, record: Record) -> None:
        """Take one record."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class JsonLines:
    """Appends records to `folder/metrics.jsonl`; lines after `step`, of a run that died, are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / FILE
        folder.mkdir(parents=True, exist_ok=True)
        kept = [r for r in read(folder) if r["step"] <= step and step > 0]
        aside = path.with_name(FILE + ".tmp")
        aside.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        aside.replace(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, record: Record) -> None:
        """One line."""
        self._file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Bar:
    """A progress bar with the smoothed loss; plain lines, twenty in all, where there is no terminal."""

    def __init__(self, steps: int, done: int, unit: str = "tokens") -> None:
        self._console = Console(stderr=False)
        self._steps, self._unit = steps, unit
        self._loss: float | None = None
        columns = (
            TextColumn("[bold]train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._bar.start()
        self._task = self._bar.add_task("train", total=steps, completed=done, text="")

    def write(self, record: Record) -> None:
        """Move on with a step; print held-out losses."""
        if record["event"] == "step":
            loss = record["loss"]
            if loss is not None:
                self._loss = loss if self._loss is None else 0.9 * self._loss + 0.1 * loss
            shown = "" if self._loss is None else f"loss {self._loss:#.4g}  "
            text = f"{shown}{record['per_s']:,.0f} {self._unit}/s"
            self._bar.update(self._task, completed=record["step"], text=text)
            every = max(1, self._steps // 20)
            if self._bar.disable and (record["step"] % every == 0 or record["step"] == self._steps):
                self._console.print(f"step {record['step']:>6}/{self._steps}  {text}", highlight=False)
        elif record["event"] == "heldout":
            nats = "  ".join(f"{kind} {value:.3f}" for kind, value in record["nats"].items())
            self._bar.console.print(f"step {record['step']:>6}  held-out nats: {nats}", highlight=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


class TensorBoard:
    """Every number of every record as a scalar, under `folder/tensorboard`."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "train.tensorboard needs the package tensorboard: pip install 'unitok-lm[train]'"
            ) from error
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, record: Record) -> None:
        """One record's scalars."""
        for name, value in _flat(record):
            if name not in ("event", "step") and isinstance(value, int | float):
                self._writer.add_scalar(f"{record['event']}/{name}", value, record["step"])

    def close(self) -> None:
        """Flush the events."""
        self._writer.close()


def memory() -> float:
    """Most memory used so far in MiB: of the GPU if there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def read(folder: Path) -> list[Record]:
    """All records of a run, oldest first; a last line cut by a crash is left out."""
    path = folder / FILE
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}/")
        else:
            flat.append((prefix + name, value))
    return flat
