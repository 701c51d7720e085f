"""Questions about a room whose answers are computed, seen from nowhere (in ScanQA's manner).

`group` is what a reader who sees no room can know of a question that matters: its template and the kinds it names. Within
a group every answer is made equally frequent (see room_qa.balance), so that knowing it helps nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from room_qa.rooms import Piece, Room

PLURALS = {"person": "people", "shelves": "shelves", "box": "boxes", "bench": "benches"}
CLEAR = 0.2
"""Metres by which distances must differ for one to be called the smaller."""
BESIDE = 0.3
"""Metres by which something is left of another, or from the middle of the room in a quarter of it."""
ABSENT = 2
"""Kinds that are not there and are asked about, for each room."""


@dataclass(frozen=True, eq=False)
class Question:
    """A question about a room; `about` are the numbers of the pieces that it concerns.

    A situated one has what the asker says of where they stand, and that place: x, y and heading in degrees from the x axis.
    """

    room: Room
    text: str
    answer: str
    group: tuple[str, ...]
    about: tuple[int, ...] = ()
    situation: str = ""
    stand: tuple[float, float, float] | None = None

    @property
    def template(self) -> str:
        """The form of the question."""
        return self.group[0]


Make = Callable[..., Question]
"""Text, answer, group and the pieces that it is about, to a question of the room at hand."""


def article(kind: str) -> str:
    """ "a chair", "an oven", "shelves"."""
    if PLURALS.get(kind) == kind:
        return kind
    return f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"


def be(kind: str) -> str:
    """ "is", or "are" of shelves."""
    return "are" if PLURALS.get(kind) == kind else "is"


def ask(room: Room, kinds: Sequence[str], dice: random.Random) -> Iterator[Question]:
    """All questions of all templates that have a clear answer; `kinds` are those that a room could have."""

    def question(text: str, answer: str, group: Sequence[str], *about: Piece) -> Question:
        return Question(room, text, answer, tuple(group), tuple(room.pieces.index(piece) for piece in about))

    for piece in room.pieces:
        yield question(f"What stands at {piece.x:.1f} {piece.y:.1f}?", piece.kind, ["what at"], piece)
    yield question("How many objects are in the room?", str(len(room.pieces)), ["how many"])
    there = {piece.kind for piece in room.pieces}
    for kind in [*sorted(there), *dice.sample(sorted({*kinds} - there), min(ABSENT, len({*kinds} - there)))]:
        same = [piece for piece in room.pieces if piece.kind == kind]
        plural = PLURALS.get(kind, f"{kind}s")
        yield question(
            f"{be(kind).capitalize()} there {article(kind)} in the room?",
            "yes" if same else "no",
            ["is there", kind],
            *same,
        )
        yield question(f"How many {plural} are there?", str(len(same)), ["how many of", kind], *same)
    for text, key in (
        ("What is the tallest object in the room?", lambda piece: (piece.size[2],) * 2),
        ("What is the lowest object in the room?", lambda piece: (-piece.size[2],) * 2),
        ("What is the leftmost object in the room?", lambda piece: (-piece.x, piece.size[0] / 2 - piece.x)),
        ("What is nearest to the back wall?", lambda piece: (piece.y, piece.y + piece.size[1] / 2)),
    ):
        best = first(room.pieces, key)
        if best is not None:
            yield question(text, best.kind, [text], best)
    yield from _places(room, question)
    yield from _pairs(room, question)


def _places(room: Room, question: Make) -> Iterator[Question]:
    """Where single pieces are, and what is nearest to them."""
    for piece in room.singles:
        from_middle = (piece.x - room.width / 2, piece.y - room.depth / 2)
        if min(map(abs, from_middle)) >= BESIDE:
            quarter = (
                f"{'left' if from_middle[0] < 0 else 'right'} {'front' if from_middle[1] < 0 else 'back'}"
            )
            yield question(f"Where {be(piece.kind)} the {piece.kind}?", quarter, ["where", piece.kind], piece)
        others = [one for one in room.pieces if one is not piece]
        near = first(others, piece.nearness, CLEAR)
        if near is not None:
            yield question(
                f"What is nearest to the {piece.kind}?", near.kind, ["nearest", piece.kind], near, piece
            )


def _pairs(room: Room, question: Make) -> Iterator[Question]:
    """Comparisons of single pieces, named in alphabetical order, and distances between them."""
    singles = sorted(room.singles, key=lambda piece: piece.kind)
    for a, b in combinations(singles, 2):
        either = f"the {a.kind} or the {b.kind}"
        if a.size[2] != b.size[2]:
            taller = a if a.size[2] > b.size[2] else b
            yield question(f"Which is taller, {either}?", taller.kind, ["taller", a.kind, b.kind], a, b)
        if abs(a.x - b.x) >= BESIDE:
            text = f"{be(a.kind).capitalize()} the {a.kind} left of the {b.kind}?"
            yield question(text, "yes" if a.x < b.x else "no", ["left of", a.kind, b.kind], a, b)
        metres = a.distance(b.x, b.y)
        if abs(metres - round(2 * metres) / 2) <= 0.2:
            text = f"How far {be(a.kind)} the {a.kind} from the {b.kind}, middle to middle?"
            yield question(text, f"{round(2 * metres) / 2:.1f} m", ["how far"], a, b)
        for other in singles:
            if other is not a and other is not b:
                nearer = first([a, b], other.nearness, CLEAR)
                if nearer is not None:
                    text = f"Which is nearer to the {other.kind}, {either}?"
                    yield question(text, nearer.kind, ["nearer", a.kind, b.kind], a, b, other)


def first(
    pieces: Sequence[Piece], key: Callable[[Piece], tuple[float, float]], margin: float = 0.05
) -> Piece | None:
    """The piece with the greatest keys, if there are two pieces, it leads by a margin in one and leads in the other.

    The two keys are two readings of a word, such as by middles and by edges: where they differ, nothing is asked.
    """
    order = sorted(pieces, key=lambda piece: key(piece)[0], reverse=True)
    if len(order) < 2 or key(order[0])[0] - key(order[1])[0] < margin:
        return None
    best = max(key(piece)[1] for piece in order[1:])
    return order[0] if key(order[0])[1] >= best else None
