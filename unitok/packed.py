"""Files as bytes, unpacked on the way: plain, gzip (.gz, .tgz) or zstd (.zst)."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, cast

PART = 2**18
"""Bytes read at once."""


class BadZstd(OSError):
    """Bytes that are no zstd stream, or a damaged one."""


DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, BadZstd)
"""What reading raises where packed bytes are damaged or end too early."""


def opened(path: Path) -> BinaryIO:
    """A file for reading; the end of its name says whether it is packed. Only .gz can seek.

    Raises:
        ImportError: a .zst file without the package zstandard.
    """
    name = path.name.lower()
    if name.endswith((".gz", ".tgz")):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if name.endswith(".zst"):
        try:
            import zstandard
        except ImportError as error:
            raise ImportError(f"{path} is packed with zstd: pip install zstandard to read it") from error
        return cast(BinaryIO, io.BufferedReader(_Unpacked(path.open("rb"), zstandard), PART))
    return path.open("rb")


class _Unpacked(io.RawIOBase):
    """A .zst file's bytes, of all its frames; zstandard's own reader ends in silence where a file was cut."""

    def __init__(self, file: BinaryIO, zstandard: ModuleType) -> None:
        self.file = file
        self.error = zstandard.ZstdError
        self.tool = zstandard.ZstdDecompressor(max_window_size=2**31)
        self.frame = self.tool.decompressobj()
        self.begun = False
        self.packed = b""
        self.ready = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the file, too."""
        if not self.closed:
            self.file.close()
        super().close()

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        """Fill `into`; how many bytes there were, 0 at the end."""
        while not self.ready:
            if self.frame.eof:
                self.packed = self.frame.unused_data
                self.frame, self.begun = self.tool.decompressobj(), False
            self.packed = self.packed or self.file.read(PART)
            if not self.packed:
                if self.begun:
                    raise EOFError("it ends amid a frame")
                return 0
            try:
                self.ready = self.frame.decompress(self.packed)
            except self.error as error:
                raise BadZstd(f"zstd: {error}") from error
            self.packed, self.begun = b"", True
        count = min(len(into), len(self.ready))
        into[:count], self.ready = self.ready[:count], self.ready[count:]
        return count
