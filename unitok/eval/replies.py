"""Ask a model what a record's last turn answers, and put its answer beside the record's.

    for reply in replies(sampler, records, temperature=0.0): reply.wanted, reply.given

Records have "turns" (see docs/data.md). Everything before the last assistant turn is the question; the answer may
hold the blocks that the record's own answer holds, and begins with the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.progress import track

from unitok.data.sources import Record
from unitok.document import Document, segment
from unitok.generate import Sampler
from unitok.modality import BadItem, Item, Modality
from unitok.segment import Segment

BATCH = 32
Turns = Sequence[tuple[str, Sequence[tuple[str, Item]]]]
"""Role and parts (block, value) of each turn."""


class Reply(NamedTuple):
    """A record's answer and the model's, as items in order; text is joined where it is together."""

    record: Record
    asked: list[Item]
    wanted: list[Item]
    given: list[Item]


def content(turn: dict[str, Any], text: str) -> list[tuple[str, Item]]:
    """A turn's parts as (block, value).

    Raises:
        ValueError: malformed.
    """
    said = turn.get("content")
    parts = [{text: said}] if isinstance(said, str) else said
    if (
        not isinstance(parts, list)
        or not all(isinstance(p, dict) and len(p) == 1 for p in parts)
        or not parts
    ):
        raise ValueError(f'a turn\'s content is a string or a list of {{"block": value}}, not {said!r:.80}')
    return [next(iter(part.items())) for part in parts]


def split(
    record: Record, text: str
) -> tuple[list[tuple[str, list[tuple[str, Item]]]], list[tuple[str, Item]]]:
    """The turns before the last, with roles, and the parts of the last, which must be the assistant's.

    Raises:
        ValueError: no turns, or the last is not the assistant's.
    """
    turns = record.fields.get("turns")
    if not isinstance(turns, list) or len(turns) < 2 or turns[-1].get("role") != "assistant":
        raise ValueError(f"{record.where}: a record to be answered has turns that end with the assistant's")
    try:
        return [(turn["role"], content(turn, text)) for turn in turns[:-1]], content(turns[-1], text)
    except ValueError as error:
        raise ValueError(f"{record.where}: {error}") from error


def replies(sampler: Sampler, records: Sequence[Record], **options: Any) -> Iterator[Reply]:
    """The model's answers; `options` are those of `Sampler.generate`. A question that cannot be encoded has none.

    Raises:
        ValueError: a record without turns that end with an answer.
    """
    text = sampler.vocabulary.text or ""
    known = [split(record, text) for record in records]
    kinds = [tuple(block for block, _ in answer) for _, answer in known]
    given, _ = answers(sampler, [turns for turns, _ in known], kinds, **options)
    for record, (turns, answer), found in zip(records, known, given, strict=True):
        asked = [value for _, parts in turns for _, value in parts]
        yield Reply(record, asked, [value for _, value in answer], found)


def answers(
    sampler: Sampler, asked: Sequence[Turns], kinds: Sequence[tuple[str, ...]], **options: Any
) -> tuple[list[list[Item]], dict[int, str]]:
    """What is written after each question, and which questions cannot be encoded, with reasons.

    Args:
        asked: turns of parts (block, value).
        kinds: the blocks that each answer may hold; it begins with the first.
    """
    documents: dict[int, Document] = {}
    refused: dict[int, str] = {}
    for i, turns in enumerate(asked):
        try:
            documents[i] = document(sampler.modalities, sampler.vocabulary.text, turns)
        except BadItem as error:
            refused[i] = error.reason
    groups = [
        same[
            start : start + BATCH
        ]  # answers of a batch hold the same blocks; questions are of about one length
        for kind in sorted(set(kinds))
        for same in [sorted((i for i in documents if kinds[i] == kind), key=lambda i: _length(documents[i]))]
        for start in range(0, len(same), BATCH)
    ]
    found: dict[int, list[Item]] = {}
    for group in track(groups, "answers"):
        kind = kinds[group[0]]
        written = sampler.generate(
            [documents[i] for i in group], produce=sorted(set(kind)), first=kind[0], **options
        )
        for i, one in zip(group, written, strict=True):
            parts = [part for part in one if isinstance(part, Segment)]
            found[i] = [sampler.modalities[part.name].decode([part.codes])[0] for part in parts]
    return [found.get(i, []) for i in range(len(asked))], refused


def _length(document: Document) -> int:
    return sum(len(part.codes) for part in document.segments)


def document(modalities: Mapping[str, Modality], text: str | None, turns: Turns) -> Document:
    """Turns as a document, encoded; neighbouring parts of the block `text` are one, as when documents are made.

    Raises:
        BadItem: a part cannot be encoded.
    """
    out = []
    for role, parts in turns:
        joined: list[tuple[str, Item]] = []
        for block, value in parts:
            if joined and block == text == joined[-1][0]:
                joined[-1] = (block, joined[-1][1] + value)
            else:
                joined.append((block, value))
        out.append((role, [segment(modalities[block], value) for block, value in joined]))
    return Document.chat(out)
