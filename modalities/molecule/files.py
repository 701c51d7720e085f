"""Files of molecules as bytes or text, unpacked on the way: plain, .gz or .zst."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file as a stream of bytes, unpacked on the way.

    Raises:
        OSError: packed data that are damaged.
    """
    with path.open("rb") as file:
        try:
            if path.suffix == ".gz":
                yield gzip.GzipFile(fileobj=file)
            elif path.suffix == ".zst":
                import zstandard

                yield zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(file)
            else:
                yield file
        except Exception as error:
            if isinstance(error, (EOFError, zlib.error)) or type(error).__name__ == "ZstdError":
                raise OSError(
                    f"{path} is no {path.suffix} file or a damaged one ({error}): copy it again"
                ) from error
            raise


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError: packed data that are damaged.
        ValueError: not UTF-8.
    """
    with opened(path) as file:
        data: bytes = file.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8: give a text file") from error
