"""Tasks: conversations whose assistant turns the model writes, and how what it wrote is scored.

A `Task` has a name, chat documents with their reference answers in place, sampling options and
`score(prediction, reference, modalities) -> {measure: value}`. The default scoring asks each modality's own
`compare`, and word measures for text. A task of its own kind subclasses `Task` and overrides `score`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unitok.document import Document, Segment, Turn
from unitok.eval import text
from unitok.generate import Options
from unitok.modality import Item, Modality
from unitok.segment import Mark
from unitok.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Piece:
    """One segment with its item; `item` is None and `error` says why if it is no valid item.

    `encodes` tells whether the item's own tokenizer would encode it, which may be stricter than decoding.
    """

    name: str
    item: Item
    error: str = ""
    encodes: bool = True


@dataclass(frozen=True)
class Task:
    """Chat documents to answer.

    Args:
        name: key of its figures in the report.
        documents: chats with at least one assistant turn, whose content is the reference.
        sampling: how answers are drawn.
        every_turn: the model writes every assistant turn, each seeing its own earlier ones; else the first.
    """

    name: str
    documents: Sequence[Document]
    sampling: Options = field(default_factory=Options)
    every_turn: bool = False

    def score(
        self, prediction: Sequence[Piece], reference: Sequence[Piece], modalities: Mapping[str, Modality]
    ) -> dict[str, float]:
        """Measures of one answer, "<block>.<measure>"; those of an item that is not there are left out."""
        found: dict[str, float] = {}
        for name in dict.fromkeys(piece.name for piece in reference):
            wanted = [piece.item for piece in reference if piece.name == name and not piece.error]
            written = [piece.item for piece in prediction if piece.name == name and not piece.error]
            if not modalities[name].spec.framed:
                measures = [text.scores(" ".join(map(str, written)), " ".join(map(str, wanted)))]
            else:
                found[f"{name}.written"] = float(len(written) >= len(wanted))
                pairs = zip(wanted, written, strict=False)
                measures = [modalities[name].compare(a, b) for a, b in pairs]
            for key in dict.fromkeys(key for m in measures for key in m):
                values = [m[key] for m in measures if key in m]  # some have a measure more: coordinates, say
                found[f"{name}.{key}"] = sum(values) / len(values)
        return found


def pieces(segments: Sequence[Segment], modalities: Mapping[str, Modality]) -> list[Piece]:
    """Decode segments to items.

    An item is valid if its codes decode and it compares with itself, which what is empty or broken does not.
    """
    found = []
    for segment in segments:
        modality = modalities[segment.name]
        try:
            item = modality.decode([segment.codes])[0]
            if modality.spec.framed:
                modality.compare(item, item)
            found.append(Piece(segment.name, item, encodes=_encodes(modality, item)))
        except ValueError as error:  # BadCodes and BadItem are ValueErrors
            found.append(Piece(segment.name, None, str(error), encodes=False))
    return found


def _encodes(modality: Modality, item: Item) -> bool:
    try:
        modality.encode([item])
    except ValueError:
        return False
    return True


def conversation(stream: Sequence[Segment | Mark], vocabulary: Vocabulary, key: str = "") -> Document:
    """A parsed chat as a document again, every segment with the weight of its role.

    Raises:
        ValueError: the stream is no chat.
    """
    turns: list[Turn] = []
    role: str | None = None
    segments: list[Segment] = []
    for part in stream:
        if isinstance(part, Segment):
            segments.append(part)
        elif part.name == "turn" and role is not None:
            turns.append(Turn(role, tuple(segments)))
            role, segments = None, []
        elif part.name in ("system", "user", "assistant"):
            role, segments = part.name, []
    if not any(turn.role == "assistant" for turn in turns):
        raise ValueError(f"document {key!r} has no assistant turn: a task needs a reference answer")
    return Document.chat([(str(turn.role), turn.segments) for turn in turns], key=key)


def rows(values: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """{measure: {"mean", "count"}} over finite values; not every dictionary need have every measure."""
    names = dict.fromkeys(name for row in values for name in row)
    found = {}
    for name in names:
        column = [row[name] for row in values if name in row and math.isfinite(row[name])]
        if column:
            found[name] = {"mean": sum(column) / len(column), "count": len(column)}
    return found
