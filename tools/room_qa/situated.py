"""Questions of somebody who stands in the room and looks along a wall's direction (in SQA3D's manner).

A direction is the angle from where the asker looks to where the thing's middle is: within 35 degrees it is in front, 55 to
125 degrees to the left or right, from 145 on behind; what lies between is not asked about.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import combinations

from room_qa.questions import CLEAR, Question, be, first
from room_qa.rooms import Piece, Room

WALLS = {"right": 0.0, "back": 90.0, "left": 180.0, "front": 270.0}
SIDES = {"in front of me": "front", "on my left": "left", "on my right": "right", "behind me": "behind"}
ROOM = 0.4
"""Metres between the asker and every piece's box."""
TRIES = 40


def ask(room: Room, dice: random.Random) -> Iterator[Question]:
    """Questions from one place in the room, if there is one to stand at."""
    stand = _stand(room, dice)
    if stand is None:
        return
    x, y, wall = stand
    heading = WALLS[wall]
    situation = f"I am standing at {x:.1f} {y:.1f} and facing the {wall} wall."

    def question(text: str, answer: str, group: list[str], *about: Piece) -> Question:
        numbers = tuple(room.pieces.index(piece) for piece in about)
        return Question(room, text, answer, tuple(group), numbers, situation, (x, y, heading))

    angles = {piece: turn(piece, x, y, heading) for piece in room.pieces}
    sides = {piece: side(angle) for piece, angle in angles.items()}
    for said, name in SIDES.items():
        here = [piece for piece in room.pieces if sides[piece] == name]
        if None not in sides.values():
            if len(here) == 1:
                yield question(f"What is {said}?", here[0].kind, ["what side"], *here)
            yield question(f"How many objects are {said}?", str(len(here)), ["how many side", name], *here)
    for piece in room.singles:
        if sides[piece] is not None:
            text = f"Which side of me {be(piece.kind)} the {piece.kind} on?"
            yield question(text, str(sides[piece]), ["which side", piece.kind], piece)
            said = dice.choice(sorted(SIDES))
            answer = "yes" if SIDES[said] == sides[piece] else "no"
            yield question(
                f"{be(piece.kind).capitalize()} the {piece.kind} {said}?",
                answer,
                ["is side", piece.kind, said],
                piece,
            )
        if not 75 < abs(angles[piece]) < 105:
            seen = "yes" if abs(angles[piece]) <= 75 else "no"
            yield question(
                f"Can I see the {piece.kind} without turning round?", seen, ["can see", piece.kind], piece
            )

    def nearness(piece: Piece) -> tuple[float, float]:
        return -piece.distance(x, y), -piece.gap(x, y)

    near = first(room.pieces, nearness, CLEAR)
    if near is not None:
        yield question("What is nearest to me?", near.kind, ["nearest me"], near)
    for a, b in combinations(sorted(room.singles, key=lambda piece: piece.kind), 2):
        nearer = first([a, b], nearness, CLEAR)
        if nearer is not None:
            text = f"Am I nearer to the {a.kind} than to the {b.kind}?"
            yield question(text, "yes" if nearer is a else "no", ["am I nearer", a.kind, b.kind], a, b)


def turn(piece: Piece, x: float, y: float, heading: float) -> float:
    """Degrees, -180 to 180, from where one looks to the piece; positive is to the left."""
    angle = math.degrees(math.atan2(piece.y - y, piece.x - x)) - heading
    return (angle + 180) % 360 - 180


def side(angle: float) -> str | None:
    """The side of an angle, or None between two sides."""
    if abs(angle) <= 35:
        return "front"
    if abs(angle) >= 145:
        return "behind"
    if 55 <= abs(angle) <= 125:
        return "left" if angle > 0 else "right"
    return None


def _stand(room: Room, dice: random.Random) -> tuple[float, float, str] | None:
    for _ in range(TRIES):
        x, y = (
            round(dice.uniform(ROOM, room.width - ROOM), 1),
            round(dice.uniform(ROOM, room.depth - ROOM), 1),
        )
        if all(piece.gap(x, y) >= ROOM for piece in room.pieces):
            return x, y, dice.choice(sorted(WALLS))
    return None
