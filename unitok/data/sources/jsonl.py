"""JSON lines, plain or gzipped: one object a line, empty lines left out."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from unitok.data.sources.record import BadRecord, Record, from_mapping


def open_bytes(path: Path) -> BinaryIO:
    """A file for reading; one whose name ends in "gz" or ".zst" is decompressed on the way."""
    if path.name.lower().endswith(("gz", ".tgz")):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.name.lower().endswith(".zst"):
        import zstandard

        packed = zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(
            path.open("rb"), closefd=True
        )
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, packed)))
    return path.open("rb")


def lines(path: Path) -> Iterator[bytes | BadRecord]:
    """The lines of a file; a damaged gzip stream ends in a BadRecord."""
    number = 0
    with open_bytes(path) as file:
        try:
            for line in file:
                number += 1
                yield line
        except (EOFError, OSError, zlib.error) as error:
            yield BadRecord(
                f"{path.name}:{number + 1}", f"the file is damaged here and its rest is lost ({error})"
            )


def read_jsonl(path: Path) -> Iterator[Record | BadRecord]:
    """Records of a .jsonl or .jsonl.gz file; a line that is no JSON object is a bad record."""
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
