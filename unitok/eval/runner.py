"""Run tasks: write every answer, score it beside its reference and beside a stranger's, report as plain data.

`run(tasks, sampler, vocabulary, modalities)` gives one JSON-ready report with versions, commit, machine,
seeds, the vocabulary's fingerprint, counts, scores and examples. Each task's scores stand beside `chance`:
the same answers scored against the next document's reference. Where both are equal, the answer does not
depend on the question. `openings` tells whether the model opens what is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.progress import Progress

from unitok.document import Document, Segment, Turn
from unitok.eval.openings import openings, turns
from unitok.eval.provenance import provenance
from unitok.eval.task import Piece, Task, pieces, rows
from unitok.generate import Sampler
from unitok.modality import Modality
from unitok.vocabulary import Vocabulary

EXAMPLES = 4
OPENED = 64
"""Documents of a task that are answered freely, too, to see which blocks the model opens."""
BATCH = 16


@dataclass(frozen=True, eq=False)
class Answered:
    """One document with what the model wrote: pieces per turn, in the document's order."""

    document: Document
    reference: list[list[Piece]]
    written: list[list[Piece] | None]

    @property
    def pairs(self) -> list[tuple[list[Piece], list[Piece]]]:
        """(written, reference) of the turns that the model wrote."""
        both = zip(self.written, self.reference, strict=True)
        return [(written, reference) for written, reference in both if written is not None]


def run(
    tasks: Sequence[Task],
    sampler: Sampler,
    vocabulary: Vocabulary,
    modalities: Mapping[str, Modality],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run all tasks and report.

    Raises:
        ValueError: two tasks have one name, or a task has no documents.
    """
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{names.count(name)} tasks are called {name!r}: give each a name of its own")
    found = {}
    for task in tasks:
        answered = answer(task, sampler, modalities, progress)
        asked = [
            one
            for document in task.documents[:OPENED]
            for one in turns(document)[: None if task.every_turn else 1]
        ]
        found[task.name] = {**summary(task, answered, modalities), "openings": openings(sampler, asked)}
    return {**provenance(), "vocabulary": vocabulary.fingerprint, "tasks": found}


def answer(
    task: Task,
    sampler: Sampler,
    modalities: Mapping[str, Modality],
    progress: Progress | None = None,
) -> list[Answered]:
    """Write the assistant turns of every document of a task, in batches of equal turn.

    Raises:
        ValueError: the task has no documents.
    """
    if not task.documents:
        raise ValueError(f"task {task.name!r} has no documents: check its source and template")
    histories: list[list[Turn]] = [[] for _ in task.documents]
    written: list[list[list[Piece] | None]] = [[None] * len(d.turns) for d in task.documents]
    bar = progress.add_task(task.name, total=_turns(task)) if progress else None
    for at in range(max(len(d.turns) for d in task.documents)):
        due = [i for i, document in enumerate(task.documents) if _due(task, document, at)]
        for start in range(0, len(due), BATCH):
            batch = due[start : start + BATCH]
            asked = [Document((*histories[i], Turn("assistant", ()))) for i in batch]
            answers = sampler.generate(asked, **_options(task, batch))
            for i, parts in zip(batch, answers, strict=True):
                segments = [part for part in parts if isinstance(part, Segment)]
                histories[i].append(Turn("assistant", tuple(segments)))
                written[i][at] = pieces(segments, modalities)
            if progress and bar is not None:
                progress.advance(bar, len(batch))
        for i, document in enumerate(task.documents):
            if at < len(document.turns) and i not in due:
                histories[i].append(document.turns[at])
    return [
        Answered(document, [pieces(turn.segments, modalities) for turn in document.turns], own)
        for document, own in zip(task.documents, written, strict=True)
    ]


def _due(task: Task, document: Document, at: int) -> bool:
    if at >= len(document.turns) or document.turns[at].role != "assistant":
        return False
    return task.every_turn or not any(turn.role == "assistant" for turn in document.turns[:at])


def _turns(task: Task) -> int:
    return sum(_due(task, document, at) for document in task.documents for at in range(len(document.turns)))


def _options(task: Task, rows: Sequence[int]) -> dict[str, Any]:
    """Options of one batch: each document has its own seed, so that it gets the same answer in any batch."""
    first = task.sampling.seed
    seeds = [first + row for row in rows] if isinstance(first, int) else [first[row] for row in rows]
    return {**asdict(task.sampling), "seed": seeds}


def summary(task: Task, answered: Sequence[Answered], modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """Counts, scores, chance, validity and a few examples of one task, as plain data."""
    pairs = [pair for one in answered for pair in one.pairs]
    own = [task.score(written, reference, modalities) for written, reference in pairs]
    chance = [
        task.score(written, reference, modalities)
        for one, other in zip(answered, (*answered[1:], *answered[:1]), strict=True)
        for (written, _), (_, reference) in zip(one.pairs, other.pairs, strict=False)
    ]
    return {
        "documents": len(answered),
        "turns": len(pairs),
        "sampling": asdict(task.sampling),
        "scores": rows(own),
        "chance": rows(chance) if len(answered) > 1 else {},
        "valid": validity([written for written, _ in pairs], modalities),
        "examples": [_example(one, modalities) for one in answered[:EXAMPLES]],
    }


def validity(answers: Sequence[Sequence[Piece]], modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """{block: {"written", "valid", "encodes", "errors"}} of the framed items in answers."""
    found: dict[str, Any] = {}
    for piece in (piece for answer in answers for piece in answer):
        if modalities[piece.name].spec.framed:
            row = found.setdefault(piece.name, {"written": 0, "valid": 0, "encodes": 0, "errors": []})
            row["written"] += 1
            row["valid"] += not piece.error
            row["encodes"] += piece.encodes
            if piece.error and len(row["errors"]) < EXAMPLES:
                row["errors"].append(piece.error)
    return found


def _example(one: Answered, modalities: Mapping[str, Modality]) -> dict[str, Any]:
    def labels(turn: Sequence[Piece] | None) -> list[dict[str, str]] | None:
        return None if turn is None else [{p.name: label(p, modalities)} for p in turn]

    return {
        "key": one.document.key,
        "turns": [
            {"role": turn.role, "reference": labels(reference), "written": labels(written)}
            for turn, reference, written in zip(one.document.turns, one.reference, one.written, strict=True)
        ],
    }


def label(piece: Piece, modalities: Mapping[str, Modality]) -> str:
    """A piece in a few words."""
    return f"(not valid: {piece.error})" if piece.error else modalities[piece.name].label(piece.item)
