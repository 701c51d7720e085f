"""What readers yield: records, and bad records with a place and a reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Blob(NamedTuple):
    """A file's content inside a record; suffix is lower case with the dot: ".jpg"."""

    data: bytes
    suffix: str


class Record(NamedTuple):
    """One row of a table, one key of a folder or of a tar.

    Args:
        key: names the record within its source, the same on every run.
        fields: field name -> a string, a list of strings (one is drawn per document), `{"file": path}`
            relative to `root`, or a Blob. "split", "document" and "turns" have a meaning of their own.
        where: "file:line" or "file::member", for messages.
        root: folder that file references start from.
    """

    key: str
    fields: Mapping[str, Any]
    where: str
    root: Path


class BadRecord(NamedTuple):
    """Something that cannot be read, where it stands and why."""

    where: str
    reason: str


def from_mapping(data: Any, where: str, key: str, root: Path) -> Record | BadRecord:
    """A record of a decoded row; its own "key" or "id" takes the place of `key`."""
    if not isinstance(data, dict):
        return BadRecord(
            where, f"the row is a {type(data).__name__}: a record is an object with named fields"
        )
    for name in ("key", "id"):
        if isinstance(data.get(name), (str, int)):
            key = str(data[name])
            break
    return Record(key, data, where, root)
