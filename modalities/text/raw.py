"""`text.bytes`: a string as its UTF-8 bytes, ids 0-255. No model file, no dependency.

str -> Codes.ids int64 [n], n = bytes. Every string of Unicode scalar values round-trips exactly, and every
string of ids that `legal` lets through decodes strictly: it names only well-formed continuations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from unitok.modality import BadCodes, BadItem, Codes, Item, Legal, Modality, Spec

from .utf8 import follow, surrogate


def check_text(index: int, item: Item) -> str:
    """The item if it is a non-empty string of Unicode scalar values.

    Raises:
        BadItem: it is no string, empty, or has a lone surrogate.
    """
    if not isinstance(item, str):
        raise BadItem(index, f"{type(item).__name__} is not text: give a str")
    if not item:
        raise BadItem(index, "the text is empty: a text segment needs at least one character")
    at = surrogate(item)
    if at is not None:
        raise BadItem(
            index,
            f"lone surrogate U+{ord(item[at]):04X} at character {at}: text is made of Unicode scalar values; "
            "decode the source with errors='strict', or replace it",
        )
    return item


class Bytes(Modality):
    """Text as UTF-8 bytes."""

    suffixes = (".txt",)

    def __init__(self) -> None:
        digest = hashlib.sha256(b"unitok text.bytes utf-8").hexdigest()
        self.spec = Spec("text", size=256, length=(1, None), fingerprint=digest, framed=False)

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Strings to bytes, int64 [n] each. Raises `BadItem` as `check_text` does."""
        texts = [check_text(index, item) for index, item in enumerate(items)]
        return [Codes(torch.tensor(list(text.encode("utf-8")), dtype=torch.int64)) for text in texts]

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Bytes to strings. Raises `BadCodes` where they are none, out of range, or not whole UTF-8."""
        return [self._decode(one.ids.tolist()) for one in codes]

    @staticmethod
    def _decode(ids: list[int]) -> str:
        if not ids:
            raise BadCodes("text of no bytes: a text body has at least one")
        outside = [i for i in ids if not 0 <= i < 256]
        if outside:
            raise BadCodes(f"text code {outside[0]} is out of range: bytes are 0 to 255")
        try:
            return bytes(ids).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadCodes(
                f"bytes are not UTF-8 at position {error.start} ({error.reason}): sample with the grammar, "
                "and cut text only between characters"
            ) from error

    def legal(self, prefix: Sequence[int]) -> Legal:
        """Well-formed UTF-8 only; the body may end between characters."""
        ranges, missing = follow(prefix)
        return Legal(ranges, end=missing == 0 and len(prefix) > 0)

    def shortest_end(self, prefix: Sequence[int]) -> int:
        """Bytes missing from the last character (1 for an empty body)."""
        return follow(prefix)[1] if prefix else 1

    def read(self, data: bytes, suffix: str) -> Item:
        """A UTF-8 text file."""
        return read_text(data, suffix)

    def write(self, item: Item, suffix: str) -> bytes:
        """A UTF-8 text file."""
        return check_text(0, item).encode("utf-8")


def read_text(data: bytes, suffix: str) -> str:
    """The text of a .txt file.

    Raises:
        ValueError: another suffix, or bytes that are not UTF-8.
    """
    if suffix != ".txt":
        raise ValueError(f"text cannot be read from {suffix!r}: use .txt")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start} is not UTF-8 ({error.reason}): convert the file to UTF-8"
        ) from error
