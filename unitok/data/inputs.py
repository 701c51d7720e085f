"""Which files a store was made of, and whether they are still what they were.

Beside a store, `inputs.json` lists every file that was read (or missed) with size, time and SHA-256. A file
whose time has changed is hashed again: touching files, or a fresh copy of them, makes nothing stale.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from unitok.data.sources.folder import files

NAME = "inputs.json"
Fact = tuple[int, int, str]


class Inputs:
    """Collects the files that tokenizing a source reads."""

    def __init__(self, source: Path) -> None:
        self.facts: dict[str, Fact] = {}
        for file in _main(source):
            self.add(file)

    def add(self, path: Path) -> None:
        """Note a file, before it is read."""
        name = str(path.absolute())
        if name not in self.facts:
            self.facts[name] = _fact(path)

    def save(self, folder: Path) -> None:
        """Write the list into the store's folder."""
        (folder / NAME).write_text(json.dumps(self.facts, indent=0) + "\n")


def fresh(folder: Path, source: Path) -> bool:
    """Whether the store in `folder` is there and all that it was made of is unchanged."""
    try:
        known: dict[str, list[int | str]] = json.loads((folder / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return False
    if not {str(file.absolute()) for file in _main(source)} <= known.keys():
        return False
    return all(_same(Path(name), *fact) for name, fact in known.items())


def _main(source: Path) -> list[Path]:
    return files(source) if source.is_dir() else [source]


def _fact(path: Path) -> Fact:
    try:
        stat = path.stat()
        with path.open("rb") as file:
            return stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return -1, 0, ""


def _same(path: Path, size: int | str, time: int | str, digest: int | str) -> bool:
    try:
        stat = path.stat()
    except OSError:  # not there, or a name that no file can have
        return size == -1
    if stat.st_size != size:
        return False
    return stat.st_mtime_ns == time or _fact(path)[2] == digest
