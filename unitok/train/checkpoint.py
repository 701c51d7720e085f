"""Checkpoints: written aside, then renamed; complete or not there at all.

    checkpoints/step_00000120/   DeepSpeed's files of every rank
                                 unitok.json      the vocabulary
                                 manifest.json    written last: step, state, ranks, ZeRO stage, file sizes
    checkpoints/latest           name of the newest

A run that is killed while it saves leaves `step_N.tmp`, which nobody reads. Shards belong to one number of
ranks and one ZeRO stage; `tools/to_universal.py` makes `step_N_universal`, which any number of ranks reads.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from unitok import distributed
from unitok.vocabulary import Vocabulary, VocabularyMismatch

FORMAT = 1
MANIFEST = "manifest.json"
UNIVERSAL = "_universal"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or does not fit the run; one sentence says why and what to do."""


class Shards(Protocol):
    """What is saved: `unitok.train.engine.Engine`."""

    stage: int
    device: torch.device

    def save(self, folder: Path, tag: str) -> list[Exception]:
        """Write all ranks' files to folder/tag; what went wrong on this rank."""
        ...

    def load(self, folder: Path, tag: str, universal: bool = False) -> None:
        """Read this rank's files."""
        ...


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself; `world` is 0 in the universal form, which any world reads."""

    step: int
    world: int
    stage: int
    vocabulary: str | None
    state: dict[str, Any]
    files: dict[str, int]
    format: int = FORMAT


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie; made with the first one.
        keep: how many stay.
        vocabulary: lies beside every checkpoint; a checkpoint of another one is refused.
    """

    def __init__(self, folder: Path, keep: int = 2, vocabulary: Vocabulary | None = None) -> None:
        self.folder = folder
        self.keep = keep
        self.vocabulary = vocabulary

    def save(self, shards: Shards, step: int, state: Mapping[str, Any]) -> Path:
        """Write one checkpoint; every rank must call.

        Args:
            shards: the engine.
            step: steps done.
            state: plain types, the same on every rank; `restore` gives it back.

        Raises:
            CheckpointError: the disk refuses; what was written is removed, older checkpoints stay.
        """
        path = self.folder / _name(step)
        aside = path.with_name(path.name + ".tmp")
        failures: list[Exception] = []
        if distributed.is_main():
            failures += _attempt(lambda: _fresh(aside))
        self._agree(shards, failures, step, aside)
        failures += shards.save(self.folder, aside.name)
        self._agree(shards, failures, step, aside)
        if distributed.is_main():
            failures += _attempt(lambda: self._finish(shards, aside, path, step, state))
        self._agree(shards, failures, step, aside)
        return path

    def newest(self) -> Path | None:
        """The newest complete checkpoint, in either form; broken and half-written ones are passed over."""
        found = [path for path in self.folder.glob("step_*") if complete(path)]
        # The plain form of a step comes before the universal one: it is the cheaper to read.
        return max(found, key=lambda path: (path.name.removesuffix(UNIVERSAL), -len(path.name)), default=None)

    def restore(self, shards: Shards) -> dict[str, Any] | None:
        """Load the newest checkpoint into the engine; its `state`, or None if there is none.

        Raises:
            VocabularyMismatch: it was made with another vocabulary.
            CheckpointError: its shards are of another number of ranks, another ZeRO stage or another model.
        """
        path = self.newest()
        if path is None:
            return None
        manifest = read(path)
        self._check_vocabulary(path, manifest)
        world = distributed.world()
        universal = path.name.endswith(UNIVERSAL)
        if not universal and not _fits(manifest, world, shards.stage):
            path = path.with_name(path.name + UNIVERSAL)
            if not complete(path):
                raise CheckpointError(
                    f"{path.name.removesuffix(UNIVERSAL)} was saved by {manifest.world} ranks under ZeRO "
                    f"{manifest.stage}, this run has {world} under ZeRO {shards.stage}: convert it with "
                    f"`python tools/to_universal.py {self.folder.parent}`"
                )
            universal = True
        try:
            shards.load(self.folder, path.name, universal)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{path} does not fit this run ({reason}): keep the [model] table and the optimizer that it was "
                "saved with, or use another folder"
            ) from error
        return manifest.state

    def _check_vocabulary(self, path: Path, manifest: Manifest) -> None:
        mine = self.vocabulary.fingerprint if self.vocabulary else None
        if manifest.vocabulary != mine:
            raise VocabularyMismatch(
                f"{path} was trained with vocabulary {manifest.vocabulary}, this run has {mine}: "
                "use the tokenizers it was trained with, or another folder"
            )

    def _finish(self, shards: Shards, aside: Path, path: Path, step: int, state: Mapping[str, Any]) -> None:
        if self.vocabulary is not None:
            self.vocabulary.save(aside / "unitok.json")
        mine = self.vocabulary.fingerprint if self.vocabulary else None
        seal(aside, Manifest(step, distributed.world(), shards.stage, mine, dict(state), files={}))
        if path.exists():
            _remove(path)
        aside.rename(path)
        _write(self.folder / "latest", path.name)
        kept = sorted(p for p in self.folder.glob("step_*") if not p.name.endswith((UNIVERSAL, ".tmp")))
        for old in kept[: -self.keep]:
            _remove(old)
            _remove(old.with_name(old.name + UNIVERSAL))

    def _agree(self, shards: Shards, failures: list[Exception], step: int, aside: Path) -> None:
        """All ranks go on, or all of them stop."""
        count = torch.tensor(len(failures), device=shards.device)
        if not int(distributed.reduce_sum(count)):
            return
        if distributed.is_main():
            _remove(aside)
        newest = self.newest()
        reason = failures[0] if failures else "another rank failed"
        last = f"the last good one is {newest.name}" if newest else "there is no older one"
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {self.folder} ({reason}): "
            f"free some space and start again; {last}"
        ) from (failures[0] if failures else None)


def complete(path: Path) -> bool:
    """Whether every file that the manifest lists is there in full."""
    if path.suffix == ".tmp" or not (path / MANIFEST).is_file():
        return False
    try:
        files = read(path).files
    except (ValueError, LookupError, TypeError):  # not the JSON that `seal` wrote
        return False
    return all(
        (path / name).is_file() and (path / name).stat().st_size == size for name, size in files.items()
    )


def read(path: Path) -> Manifest:
    """The manifest of a checkpoint."""
    raw = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if raw["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has format {raw['format']}, this version reads {FORMAT}: use the version that wrote it"
        )
    return Manifest(**raw)


def seal(path: Path, manifest: Manifest) -> None:
    """Bring every file of a folder safely to the disk and write its manifest, the last file of all."""
    names = sorted(p for p in path.rglob("*") if p.is_file() and p.name != MANIFEST)
    for name in names:
        with name.open("rb") as file:
            os.fsync(file.fileno())
    files = {name.relative_to(path).as_posix(): name.stat().st_size for name in names}
    _write(path / MANIFEST, json.dumps({**asdict(manifest), "files": files}, indent=1))


def _fits(manifest: Manifest, world: int, stage: int) -> bool:
    # ZeRO 0 shards nothing, so its checkpoints are good for any number of ranks.
    return manifest.stage == stage and (manifest.world == world or stage == 0)


def _name(step: int) -> str:
    return f"step_{step:08d}"


def _write(path: Path, text: str) -> None:
    """Replace a small file in one go."""
    aside = path.with_name(path.name + ".tmp")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _fresh(aside: Path) -> None:
    """An empty folder; what killed runs left half-written goes."""
    if aside.parent.is_dir():
        for stale in aside.parent.glob("step_*.tmp"):
            shutil.rmtree(stale)
    aside.mkdir(parents=True)


def _remove(path: Path) -> None:
    """Remove a checkpoint, its manifest first: half removed, it is incomplete."""
    if path.is_dir():
        (path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(path)


def _attempt(act: Any) -> list[Exception]:
    try:
        act()
    except OSError as error:
        return [error]
    return []
