"""Where a row of the grammar can stand: the phases between segments, and the state of one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UNBOUNDED = 1 << 40
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Phase:
    """A place between segments: may content stand here, which marks lead on, how many marks remain at the least."""

    name: str
    content: bool
    tail: int
    marks: Mapping[str, str] = field(default_factory=dict)


def _phases() -> dict[str, Phase]:
    turns = dict.fromkeys(ROLES, "turn")
    phases = [
        Phase("start", content=False, tail=2, marks={"doc": "head"}),
        Phase("head", content=True, tail=1, marks={"end": "done", **turns}),
        Phase("plain", content=True, tail=1, marks={"end": "done"}),
        Phase("turn", content=True, tail=2, marks={"turn": "between"}),
        Phase("between", content=False, tail=1, marks={"end": "done", **turns}),
        Phase("answer", content=True, tail=1, marks={"turn": "done"}),
        Phase("done", content=False, tail=0),
    ]
    return {phase.name: phase for phase in phases}


PHASES = _phases()


@dataclass(slots=True)
class State:
    """Where one row stands.

    phase: name of the place between segments; block: the open block ("text" while in text), None between;
    prefix: flat local ids of the open body; left: positions that may still come; count: ids that came;
    line: the line of the grammar's table that says what may come next, -1 until it is asked for.
    """

    phase: str
    left: int
    block: str | None = None
    prefix: list[int] = field(default_factory=list)
    count: int = 0
    line: int = -1

    @property
    def done(self) -> bool:
        """Whether the row has ended."""
        return self.phase == "done"
