"""JSON lines, plain or packed: one object a line, empty lines left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from unitok.data.sources.record import BadRecord, Record, from_mapping
from unitok.packed import DAMAGE, opened


def lines(path: Path) -> Iterator[bytes | BadRecord]:
    """The lines of a file; a damaged packed one ends in a BadRecord."""
    number = 0
    with opened(path) as file:
        try:
            for line in file:
                number += 1
                yield line
        except (*DAMAGE, OSError) as error:
            yield BadRecord(
                f"{path.name}:{number + 1}", f"the file is damaged here and its rest is lost ({error})"
            )


def read_jsonl(path: Path) -> Iterator[Record | BadRecord]:
    """Records of a .jsonl file, plain, .gz or .zst; a line that is no JSON object is a bad record."""
    stem = path.name.partition(".")[0]
    for number, line in enumerate(lines(path), start=1):
        if isinstance(line, BadRecord):
            yield line
            return
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadRecord(where, f"the line is not JSON ({error})")
            continue
        yield from_mapping(data, where, f"{stem}:{number}", path.parent)
