"""A room: pieces of furniture on a floor, not one over another, at places that are whole decimetres.

x runs from the left wall to the right one, y from the front wall to the back one, both from 0, in metres. Everything that
a question asks is computed from the numbers that stand in the record: positions as they are, sizes to a decimetre.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modalities.pointcloud.scene import Place, Placed, Scene
from room_qa.furniture import Model

SIDES = (3.0, 6.0)
GAP = 0.1
TRIES = 60
AGAIN = 0.3
"""How often a piece is of a kind that the room has already."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A model at the middle of its base (x, y)."""

    model: Model
    x: float
    y: float

    @property
    def kind(self) -> str:
        """What it is."""
        return self.model.kind

    @property
    def size(self) -> tuple[float, float, float]:
        """Width, depth and height in metres as the record says them."""
        width, depth, height = (max(0.1, round(value, 1)) for value in self.model.size)
        return width, depth, height

    @property
    def place(self) -> Place:
        """What the record says of where it stands and how large it is."""
        return Place((self.x, self.y, 0.0), self.size)

    def distance(self, x: float, y: float) -> float:
        """Metres on the floor from the middle to a point."""
        return math.hypot(self.x - x, self.y - y)

    def gap(self, x: float, y: float, width: float = 0.0, depth: float = 0.0) -> float:
        """Metres on the floor from the box to another one, or to a point."""
        across = abs(self.x - x) - (self.model.size[0] + width) / 2
        along = abs(self.y - y) - (self.model.size[1] + depth) / 2
        return math.hypot(max(across, 0.0), max(along, 0.0))

    def nearness(self, other: Piece) -> tuple[float, float]:
        """Metres to another piece from middle to middle, and from box to box, negative: the nearer the greater."""
        return -self.distance(other.x, other.y), -self.gap(other.x, other.y, *other.model.size[:2])


@dataclass(frozen=True, eq=False)
class Room:
    """Pieces in an order that says nothing; `width` is along x, `depth` along y."""

    name: str
    split: str
    width: float
    depth: float
    pieces: tuple[Piece, ...]

    def only(self, kind: str) -> Piece | None:
        """The piece of a kind of which there is one."""
        found = [piece for piece in self.pieces if piece.kind == kind]
        return found[0] if len(found) == 1 else None

    @property
    def singles(self) -> list[Piece]:
        """Pieces that are the only ones of their kind, so that "the chair" means one thing."""
        return [piece for piece in self.pieces if self.only(piece.kind) is not None]

    @property
    def scene(self) -> Scene:
        """The room as clouds in metres."""
        return Scene(tuple(Placed(_moved(piece), piece.kind, piece.place) for piece in self.pieces))


def _moved(piece: Piece) -> torch.Tensor:
    return torch.from_numpy(piece.model.standing) + torch.tensor([piece.x, piece.y, 0.0])


def compose(
    name: str, split: str, models: Sequence[Model], objects: tuple[int, int], dice: random.Random
) -> Room:
    """A room with a number of pieces that is drawn from `objects`, both ends included; fewer where they do not fit."""
    width, depth = (round(dice.uniform(*SIDES), 1) for _ in range(2))
    kinds: dict[str, list[Model]] = {}
    for model in models:
        kinds.setdefault(model.kind, []).append(model)
    pieces: list[Piece] = []
    for _ in range(dice.randint(*objects)):
        there = sorted({piece.kind for piece in pieces})
        kind = dice.choice(there if there and dice.random() < AGAIN else sorted(kinds))
        piece = _place(dice.choice(kinds[kind]), width, depth, pieces, dice)
        if piece is not None:
            pieces.append(piece)
    dice.shuffle(pieces)
    return Room(name, split, width, depth, tuple(pieces))


def _place(
    model: Model, width: float, depth: float, others: Sequence[Piece], dice: random.Random
) -> Piece | None:
    half = (model.size[0] / 2, model.size[1] / 2)
    for _ in range(TRIES):
        x, y = (
            round(dice.uniform(margin, max(margin, side - margin)), 1)
            for margin, side in zip(half, (width, depth), strict=True)
        )
        free = half[0] <= x <= width - half[0] and half[1] <= y <= depth - half[1]
        if free and all(_apart(model, x, y, other) for other in others):
            return Piece(model, x, y)
    return None


def _apart(model: Model, x: float, y: float, other: Piece) -> bool:
    across = abs(x - other.x) - (model.size[0] + other.model.size[0]) / 2
    along = abs(y - other.y) - (model.size[1] + other.model.size[1]) / 2
    return max(across, along) >= GAP
