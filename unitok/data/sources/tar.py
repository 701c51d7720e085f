"""WebDataset tar files: neighbouring members that share a key are one record. Standard library, no pickle.

Members are named as in `folder`. The archive is read once from front to end, one record in memory; a member
whose content is damaged spoils its record only, a damaged header is skipped up to the next sound one.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from unitok.data.sources.folder import field_values, split_name
from unitok.data.sources.record import BadRecord, Record
from unitok.packed import DAMAGE, opened

BLOCK = 512


def read_tar(path: Path) -> Iterator[Record | BadRecord]:
    """Records of a .tar, .tar.gz or .tgz file."""
    key: str | None = None
    fields: dict[str, Any] = {}
    bad: BadRecord | None = None
    for part in _members(path):
        if isinstance(part, BadRecord):
            yield part
            continue
        name, data = part
        this, field = split_name(name)
        if this != key:
            if key is not None:
                yield bad or Record(key, fields, f"{path.name}::{key}", path.parent)
            key, fields, bad = this, {}, None
        try:
            fields.update(field_values(field, data))
        except ValueError as error:
            bad = BadRecord(f"{path.name}::{name}", str(error))
    if key is not None:
        yield bad or Record(key, fields, f"{path.name}::{key}", path.parent)


def _members(path: Path) -> Iterator[tuple[str, bytes] | BadRecord]:
    """Name and content of every regular file, and a BadRecord for every stretch that cannot be read."""
    with opened(path) as file:
        try:
            # ignore_zeros makes tarfile look for the next header behind a damaged one instead of stopping.
            with tarfile.open(fileobj=file, mode="r:", ignore_zeros=True) as archive:
                yield from _walk(path, file, archive)
        except (tarfile.TarError, *DAMAGE, OSError) as error:
            yield BadRecord(path.name, f"the archive is damaged and its rest is lost ({error})")


def _walk(path: Path, file: BinaryIO, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes] | BadRecord]:
    expected = 0
    member = archive.next()
    while member is not None:
        if member.offset > expected and _gap(file, expected, member.offset):
            lost = f"{member.offset - expected} bytes before {member.name!r} are no archive members and are skipped"
            yield BadRecord(f"{path.name}::byte {expected}", lost)
        expected = (
            member.offset_data + -(-member.size // BLOCK) * BLOCK if member.isreg() else member.offset_data
        )
        content = archive.extractfile(member) if member.isreg() else None
        if content is not None and "." in Path(member.name).name.lstrip("."):
            yield member.name, content.read()
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
        member = archive.next()
    if expected == 0:
        yield BadRecord(path.name, "the file holds no archive member: it is empty or no tar file")


def _gap(file: BinaryIO, start: int, stop: int) -> bool:
    """Whether anything but zeros stands in [start, stop): zeros lie between archives put end to end."""
    file.seek(start)
    while start < stop:
        data = file.read(min(1 << 16, stop - start))
        if not data or data.strip(b"\0"):
            return bool(data)
        start += len(data)
    return False
