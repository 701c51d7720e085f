"""Files of molecules as bytes or text, unpacked on the way: plain, .gz or .zst."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PART = 2**18
"""Bytes read at once."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file as a stream of bytes, unpacked on the way.

    Raises:
        OSError: packed data that are damaged or end too early.
        ImportError: a .zst file without the package zstandard.
    """
    with path.open("rb") as file:
        try:
            if path.suffix == ".gz":
                yield gzip.GzipFile(fileobj=file)
            elif path.suffix == ".zst":
                yield io.BufferedReader(_Unpacked(file, path), PART)
            else:
                yield file
        except Exception as error:
            if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)) or _of_zstd(error):
                raise OSError(
                    f"{path} is no {path.suffix} file or a damaged one ({error}): copy it again"
                ) from error
            raise


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


class _Unpacked(io.RawIOBase):
    """A .zst file's bytes, of all its frames; zstandard's own reader ends in silence where a file was cut."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise ImportError(f"{path} is packed with zstd: pip install zstandard to read it") from error
        self.file = file
        self.tool = zstandard.ZstdDecompressor(max_window_size=2**31)
        self.frame = self.tool.decompressobj()
        self.begun = False
        self.packed = b""
        self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self.ready:
            if self.frame.eof:
                self.packed = self.frame.unused_data
                self.frame, self.begun = self.tool.decompressobj(), False
            self.packed = self.packed or self.file.read(PART)
            if not self.packed:
                if self.begun:
                    raise EOFError("it ends amid a frame")
                return 0
            self.ready, self.packed, self.begun = self.frame.decompress(self.packed), b"", True
        count = min(len(into), len(self.ready))
        into[:count], self.ready = self.ready[:count], self.ready[count:]
        return count


def _of_zstd(error: Exception) -> bool:
    return type(error).__name__ == "ZstdError"
