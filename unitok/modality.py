"""The plug-in contract: what a modality says of itself and what it can do.

A modality turns items (pictures, molecules, clouds, strings) into `Codes` and back. Codes are *local*
ids; only `unitok.vocabulary` knows where they lie in the shared vocabulary, and only the modality knows
what they mean. `Spec`, `encode` and `decode` are required, everything else has a default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from unitok.budget import longest

if TYPE_CHECKING:
    from PIL import Image

JUMP = 16
"""By how much one id may raise `Modality.shortest_end`."""

Item = Any
"""Whatever a modality encodes: a PIL image, an RDKit molecule, a float32 array [n, 3], a string."""


class BadItem(ValueError):
    """One item of a batch cannot be encoded; the rest of the batch can go on.

    Args:
        index: position of the item in the batch that was given to `encode`.
        reason: one sentence: the value, the rule, the fix.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"item {index}: {reason}")
        self.index = index
        self.reason = reason

    def __reduce__(self) -> tuple[type[BadItem], tuple[int, str]]:
        return BadItem, (self.index, self.reason)


class BadCodes(ValueError):
    """Codes that no item has: out of range, of a wrong length, or cut in the middle."""


@dataclass(frozen=True)
class Side:
    """A companion channel aligned with positions: embedded and added to the input, never predicted.

    Args:
        kind: "ids" (int64 [n, width], -1 = absent, mean over the present) or
            "float" (float32 [n, width], zeros = absent).
        width: companions per position.
        size: for "ids", how many ids there are.
        causal: True if the channel may accompany positions that carry loss; the modality then gives
            `side(prefix)` for generation.
    """

    kind: Literal["ids", "float"]
    width: int
    size: int = 0
    causal: bool = False


@dataclass(frozen=True, eq=False)
class Spec:
    """What a modality brings into the shared vocabulary.

    Args:
        name: block name, and the name of its marks: "image" gives <image> and </image>.
        size: local ids are `range(size)`; with parts it is their sum.
        length: shortest and longest body in positions; equal = fixed; None = open.
        fingerprint: hash of everything that gives codes their meaning (configuration and weights).
        framed: False for text alone, whose ids stand without marks.
        parts: several codes per position: ids are [n, k] with 0 <= ids[:, j] < parts[j].
        side: companion channels by name.
        nested: the lengths, in rising order, at which every prefix of an item's codes is an item of its own,
            only coarser; the last is the whole. Empty: codes cannot be cut.
    """

    name: str
    size: int
    length: tuple[int, int | None]
    fingerprint: str
    framed: bool = True
    parts: tuple[int, ...] = ()
    side: Mapping[str, Side] = field(default_factory=dict)
    nested: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lo, hi = self.length
        if not self.name.isidentifier():
            raise ValueError(f"block name {self.name!r} is not an identifier: use letters, digits and '_'")
        if self.size < 1:
            raise ValueError(f"block {self.name!r} has size {self.size}: a block needs at least one code")
        if lo < 1 or (hi is not None and hi < lo):
            raise ValueError(f"block {self.name!r} has length {self.length}: need 1 <= shortest <= longest")
        if self.parts and sum(self.parts) != self.size:
            raise ValueError(
                f"block {self.name!r} has size {self.size} but parts {self.parts} sum to "
                f"{sum(self.parts)}: the size is the sum of the parts"
            )
        if self.nested and (
            (lo, hi) != (self.nested[0], self.nested[-1])
            or list(self.nested) != sorted({*self.nested})
            or max((b - a for a, b in zip(self.nested, self.nested[1:], strict=False)), default=0) > JUMP
        ):
            raise ValueError(
                f"block {self.name!r} has nested lengths {self.nested[:3]}… and length {self.length}: they rise from "
                f"the shortest to the longest in steps of at most {JUMP}"
            )

    @property
    def stride(self) -> int:
        """Flat ids per position: the number of parts, or 1."""
        return max(1, len(self.parts))


@dataclass(frozen=True, eq=False)
class Codes:
    """One item's codes: local ids, int64 [n] or [n, k] with parts, and companions {channel: [n, ...]}."""

    ids: Tensor
    side: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.ids.shape[0])


class Legal(NamedTuple):
    """Which flat local ids may come next, and whether the body may end here (lengths apart)."""

    ranges: tuple[range, ...]
    end: bool = True


class Modality(ABC):
    """A tokenizer of one kind of thing. Subclasses set `spec` and give `encode` and `decode`."""

    spec: Spec
    suffixes: tuple[str, ...] = ()
    """File suffixes that `read` understands, lower case with the dot: (".png", ".jpg")."""

    @abstractmethod
    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Encode a batch; deterministic, and the same alone or in a batch.

        Raises:
            BadItem: names the first item that cannot be encoded.
        """

    @abstractmethod
    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Decode a batch. Prefixes are allowed where the length ranges.

        Raises:
            BadCodes: codes out of range, of a wrong length, or undecodable.
        """

    def legal(self, prefix: Sequence[int]) -> Legal:
        """What may follow the flat local ids `prefix` within a body (lengths are the grammar's business).

        Within one range every id leaves the same `shortest_end`; split a range where it does not.
        """
        if not self.spec.parts:
            nested = self.spec.nested
            return Legal((range(self.spec.size),), end=not nested or len(prefix) in nested)
        part = len(prefix) % len(self.spec.parts)
        start = sum(self.spec.parts[:part])
        whole = part == 0 and (
            not self.spec.nested or len(prefix) // len(self.spec.parts) in self.spec.nested
        )
        return Legal((range(start, start + self.spec.parts[part]),), end=whole)

    def shortest_end(self, prefix: Sequence[int]) -> int:
        """How many more flat ids `prefix` needs, at the least, before the body may end.

        One legal id may raise it by at most `JUMP`, so that a budget is met without looking at every step.
        """
        stride = self.spec.stride
        short = self.spec.length[0] * stride - len(prefix)
        if short > 0 or not self.spec.nested:
            return short if short > 0 else -len(prefix) % stride
        at = bisect_left(self.spec.nested, -(-len(prefix) // stride))
        return max(0, self.spec.nested[min(at, len(self.spec.nested) - 1)] * stride - len(prefix))

    def shorten(self, codes: Codes, budget: int) -> Codes:
        """The coarser item of at most `budget` positions that the first codes are.

        Raises:
            ValueError: codes of this modality cannot be cut, or not to so few.
        """
        if len(codes) <= budget:
            return codes
        keep = longest(nested_lengths(self.spec.name, {self.spec.name: self}), budget)
        return Codes(codes.ids[:keep], {name: each[:keep] for name, each in codes.side.items()})

    def encoding(self) -> Mapping[str, Any]:
        """What `encode` was told beside what gives codes their meaning, such as a budget, as plain data: documents made
        under other words are made anew. Empty where nothing was told.
        """
        return {}

    def read(self, data: bytes, suffix: str) -> Item:
        """Read an item from the bytes of a file with the given suffix (".png").

        Raises:
            ValueError: the bytes are damaged or the suffix is not one of `suffixes`.
        """
        raise TypeError(f"{type(self).__name__} reads no files: pass items to encode() directly")

    def write(self, item: Item, suffix: str) -> bytes:
        """The bytes of a file with the given suffix that `read` gives back as this item."""
        raise TypeError(f"{type(self).__name__} writes no files")

    def load(self, path: str | Path) -> Item:
        """Read an item from a file."""
        path = Path(path)
        if path.suffix.lower() not in self.suffixes:
            raise ValueError(
                f"{path}: a {self.spec.name} cannot be read from {path.suffix or 'no suffix'!r}; "
                f"use one of {', '.join(self.suffixes) or 'none'}"
            )
        try:
            return self.read(path.read_bytes(), path.suffix.lower())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, item: Item, path: str | Path) -> None:
        """Write an item to a file; the suffix chooses the format."""
        path = Path(path)
        path.write_bytes(self.write(item, path.suffix.lower()))

    def show(self, item: Item) -> Image.Image:
        """The item as a picture, for reports."""
        raise TypeError(f"{type(self).__name__} has no picture: override show()")

    def compare(self, a: Item, b: Item) -> dict[str, float]:
        """How well `b` keeps what `a` was, in this modality's own measures (PSNR, Tanimoto, Chamfer...)."""
        return {"equal": float(a == b)}

    def variants(self, item: Item, count: int) -> list[Item]:
        """At most `count` variants that mean the same (flips, crops, rotations), the item itself first."""
        return [item]

    def label(self, item: Item) -> str:
        """The item in a few words of text, for logs and reports."""
        return str(item)


def nested_lengths(name: str, modalities: Mapping[str, Modality]) -> tuple[int, ...]:
    """The lengths that items of a block may be cut to.

    Raises:
        ValueError: there is no such block, or its codes cannot be cut.
    """
    if name not in modalities:
        raise ValueError(f"a budget names the block {name!r}, but there are {', '.join(modalities)}")
    lengths = modalities[name].spec.nested
    if not lengths:
        raise ValueError(
            f"a budget for {name!r}, whose codes cannot be cut: use a tokenizer with nested codes, or leave it out"
        )
    return lengths
