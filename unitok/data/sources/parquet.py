"""Parquet tables, read in batches with pyarrow. A struct column {bytes, path} (Hugging Face's images) is a Blob."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unitok.data.sources.record import BadRecord, Blob, Record, from_mapping


def read_parquet(path: Path) -> Iterator[Record | BadRecord]:
    """Records of a .parquet file; nulls are absent fields.

    Raises:
        ImportError: pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "reading parquet needs the package 'pyarrow', which is not installed: pip install 'unitok-lm[parquet]'"
        ) from error
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=256):
                for data in batch.to_pylist():
                    row += 1
                    fields = {name: _value(value) for name, value in data.items() if value is not None}
                    yield from_mapping(fields, f"{path.name}:{row}", f"{path.stem}:{row}", path.parent)
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        yield BadRecord(f"{path.name}:{row + 1}", f"the table is damaged here and its rest is lost ({error})")


def _value(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        return Blob(value["bytes"], Path(value.get("path") or "").suffix.lower())
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if inner is not None}
    return value
