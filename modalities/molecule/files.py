"""Files of molecules as bytes or text, unpacked on the way: plain, .gz or .zst."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unitok import packed


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file as a stream of bytes, unpacked on the way.

    Raises:
        OSError: packed data that are damaged or end too early.
        ImportError: a .zst file without the package zstandard.
    """
    try:
        with packed.opened(path) as file:
            yield file
    except packed.DAMAGE as error:
        raise OSError(f"{path} is no {path.suffix} file or a damaged one ({error}): copy it again") from error


def text_of(path: Path) -> str:
    """The text of a file, without a mark of its encoding at the start.

    Raises:
        OSError: packed data that are damaged.
        ValueError: not UTF-8.
    """
    with opened(path) as file:
        data: bytes = file.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8: give a text file") from error
