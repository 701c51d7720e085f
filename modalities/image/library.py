"""Pictures that stay on disk: found once, read and decoded when a batch asks for them.

    library = Library(entries, size=256)
    library[torch.tensor([3, 17])]        # uint8 [2, 3, 256, 256]

For sets that do not fit into memory. An entry is a file, or a stretch of an uncompressed tar; to list a tar
only its headers are read. What cannot be decoded is replaced by the next picture that can, and counted in
`damaged`.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .io import SUFFIXES, Resize, read_image, to_tensor

WORKERS = 8


class Entry(NamedTuple):
    """Where a picture lies: a stretch of a file; `heldout` is None where nothing says."""

    key: str
    file: Path
    offset: int = 0
    size: int = -1
    heldout: bool | None = None

    def read(self) -> bytes:
        """Its bytes."""
        with self.file.open("rb") as opened:
            return os.pread(
                opened.fileno(),
                self.size if self.size >= 0 else os.fstat(opened.fileno()).st_size,
                self.offset,
            )


def entries(path: Path) -> Iterator[Entry]:
    """The pictures of a folder, an uncompressed tar or a jsonl file, by the rules of `sources.pictures`.

    Raises:
        ValueError: a packed tar, which cannot be read in any order, or no source at all.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.is_dir():
                key, said = placed(file.relative_to(path))
                yield Entry(key, file, heldout=said)
    elif path.suffix == ".jsonl" and path.is_file():
        yield from _recorded(path)
    elif path.suffix == ".tar" and path.is_file():
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    name = Path(member.name)
                    if member.isreg() and name.suffix.lower() in SUFFIXES:
                        key, said = placed(name)
                        yield Entry(key, path, member.offset_data, member.size, said)
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"{path} is no tar file or a damaged one ({error}): copy it again") from error
    else:
        raise ValueError(
            f"{path} is no folder, uncompressed .tar or .jsonl file: pictures on disk need one of them"
        )


def _recorded(path: Path) -> Iterator[Entry]:
    """The pictures of a jsonl file's records; a record without an image is passed over."""
    seen: set[str] = set()
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path}:{line} is no JSON ({error}): mend the line") from error
        if not isinstance(record, dict):
            raise ValueError(
                f"{path}:{line} is a {type(record).__name__}: a record is an object with an image"
            )
        image = record.get("image")
        name = image.get("file") if isinstance(image, dict) else image
        if name is None or name == "":
            continue
        if not isinstance(name, str):
            raise ValueError(f"{path}:{line}: image is {name!r}: it names a file")
        said = record["split"] != "train" if "split" in record else None
        key = Path(name).stem
        key = "-".join(Path(name).with_suffix("").parts) if key in seen else key
        seen.add(key)
        yield Entry(key, path.parent / name, heldout=said)


def placed(member: Path) -> tuple[str, bool | None]:
    """The key of a file within a tar or a folder, which holds its folders; what a folder called train or test says of the split."""
    folders = member.parts[:-1]
    said = True if "test" in folders else False if "train" in folders else None
    return "-".join((*folders, member.stem)), said


class Library:
    """Pictures by number; see the module's text.

    Args:
        found: where they are.
        size: side in pixels.
        how: see `io.fit`.
    """

    def __init__(self, found: Sequence[Entry], size: int, how: Resize = "cover") -> None:
        self.entries, self.size, self.how, self.damaged = list(found), size, how, 0
        self._pool = ThreadPoolExecutor(WORKERS)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: Tensor) -> Tensor:
        """uint8 [n, 3, size, size] of the pictures `index` [n]."""
        return torch.stack(list(self._pool.map(self._picture, index.tolist())))

    def _picture(self, number: int) -> Tensor:
        for more in range(len(self.entries)):
            try:
                image = read_image(self.entries[(number + more) % len(self.entries)].read())
            except (ValueError, OSError):
                self.damaged += 1
                continue
            return (to_tensor(image, self.size, self.how) * 255).round().to(torch.uint8)
        raise ValueError(f"none of the {len(self.entries)} pictures can be read: check the files")
