"""The two things a stream of shared ids is made of: spans of one modality's codes, and marks."""

from __future__ import annotations

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
        if self.weight < 0:
            raise ValueError(f"segment {self.name!r} has weight {self.weight}: a loss weight is at least 0")
