"""The two things a stream of shared ids is made of: spans of one modality's codes, and marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unitok.modality import Codes


class Mark(NamedTuple):
    """A structural id outside every block: "doc", "user", "turn"..."""

    name: str


@dataclass(frozen=True, eq=False)
class Segment:
    """One span of codes of the block `name`; `weight` is the loss weight of its positions."""

    name: str
    codes: Codes
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError(
                f"segment {self.name!r} has weight {self.weight}: a loss weight is finite and at least 0"
            )


def same(a: Sequence[Segment | Mark], b: Sequence[Segment | Mark]) -> bool:
    """Whether two streams hold the same marks and the same codes in the same order."""
    return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))


def _alike(x: Segment | Mark, y: Segment | Mark) -> bool:
    if isinstance(x, Mark) or isinstance(y, Mark):
        return x == y
    return x.name == y.name and x.codes.ids.equal(y.codes.ids)
