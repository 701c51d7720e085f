"""Sources: files of records, whatever their format. One file per format, all of them generators.

A reader yields `Record`s, and a `BadRecord` for whatever it cannot read; it goes on after one where the format
allows. `read(path)` chooses by the name of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from unitok.data.sources.folder import read_folder
from unitok.data.sources.jsonl import read_jsonl
from unitok.data.sources.longtext import read_text
from unitok.data.sources.parquet import read_parquet
from unitok.data.sources.record import BadRecord, Blob, Record
from unitok.data.sources.tar import read_tar

__all__ = ["BadRecord", "Blob", "Record", "format_of", "read"]

Reader = Callable[[Path], Iterator[Record | BadRecord]]
READERS: dict[str, Reader] = {
    "folder": read_folder,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "tar": read_tar,
    "text": read_text,
}
SUFFIXES = {
    ".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".parquet": "parquet", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar",
    ".txt": "text", ".txt.gz": "text",
}  # fmt: skip


def format_of(path: Path) -> str:
    """The name of the format of a source, by its suffix; a directory is a folder of records.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: the suffix is unknown.
    """
    if not path.exists():
        raise FileNotFoundError(f"source {path} does not exist: the path is relative to the config file")
    if path.is_dir():
        return "folder"
    for suffix, name in SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return name
    raise ValueError(f"source {path} has an unknown suffix: use a folder or one of {', '.join(SUFFIXES)}")


def read(path: Path) -> Iterator[Record | BadRecord]:
    """The records of a source, in a fixed order."""
    return READERS[format_of(path)](path)
