"""Made-up modalities that read strings and files, for the tests of the data path."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from unitok import BadCodes, BadItem, Codes, Legal, Modality, Side, Spec
from unitok.data.store import Index


class Latin(Modality):
    """Text: one code per character below 256."""

    spec = Spec("text", 256, (1, None), "latin", framed=False)
    suffixes = (".txt",)

    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode(self, items: Sequence[str]) -> list[Codes]:
        self.calls.append(len(items))
        for i, item in enumerate(items):
            if any(ord(c) > 255 for c in item):
                raise BadItem(i, f"{item!r} has a character above 255")
        return [Codes(torch.tensor([ord(c) for c in item], dtype=torch.int64)) for item in items]

    def decode(self, codes: Sequence[Codes]) -> list[str]:
        return ["".join(map(chr, one.ids.tolist())) for one in codes]

    def read(self, data: bytes, suffix: str) -> str:
        return data.decode("latin-1")


class Picture(Modality):
    """Four bytes behind the letters IMG; its variants are rotations."""

    spec = Spec("image", 256, (4, 4), "picture", side={"edge": Side("float", 2)})
    suffixes = (".img",)

    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode(self, items: Sequence[bytes]) -> list[Codes]:
        self.calls.append(len(items))
        for i, item in enumerate(items):
            if item[0] == 255:
                raise BadItem(i, "the first byte is 255")
        return [Codes(torch.tensor(list(item)), {"edge": torch.full((4, 2), item[0] / 2)}) for item in items]

    def decode(self, codes: Sequence[Codes]) -> list[bytes]:
        return [bytes(one.ids.tolist()) for one in codes]

    def read(self, data: bytes, suffix: str) -> bytes:
        if not data.startswith(b"IMG") or len(data) != 7:
            raise ValueError(f"not a picture of 7 bytes, but {len(data)}")
        return data[3:]

    def variants(self, item: bytes, count: int) -> list[bytes]:
        return [item[i:] + item[:i] for i in range(min(count, 4))]


class Formula(Modality):
    """Strings of C, N and O."""

    spec = Spec("molecule", 3, (1, 20), "formula", side={"shell": Side("ids", 2, 9)})

    def encode(self, items: Sequence[str]) -> list[Codes]:
        out = []
        for i, item in enumerate(items):
            if not item or set(item) - set("CNO"):
                raise BadItem(i, f"{item!r} is no formula of C, N and O")
            ids = torch.tensor(["CNO".index(c) for c in item])
            out.append(Codes(ids, {"shell": torch.stack([ids, torch.full_like(ids, -1)], dim=1)}))
        return out

    def decode(self, codes: Sequence[Codes]) -> list[str]:
        for one in codes:
            if not len(one):
                raise BadCodes("an empty formula")
        return ["".join("CNO"[i] for i in one.ids.tolist()) for one in codes]

    def legal(self, prefix: Sequence[int]) -> Legal:
        return Legal((range(3),))


def picture(*values: int) -> bytes:
    return b"IMG" + bytes(values)


class Lengths:
    """A store of which only the index is there."""

    def __init__(self, lengths: Sequence[int], name: str = "lengths") -> None:
        length = np.asarray(lengths, np.int64)
        null = np.maximum(length // 2, 1)
        self.index = Index(length, null, length - 1.0, null - 1.0, f"{name}-{int(length.sum())}")
