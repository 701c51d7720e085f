"""A finished run answers the questions: its submission, with up to ten answers each.

    problems = submission(sampler, Path("data/rooms/rooms.jsonl"), questions, Path("pred.json"))

The first answer is the greedy one. The others are drawn; those drawn more often come first. A sampler has no beams, so
this stands where other models return ten sequences of a beam search.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from unitok.data.sources import BadRecord, Record, read
from unitok.document import Document
from unitok.eval.asked import questions as documents_of
from unitok.eval.qa3d import predictions
from unitok.eval.qa3d.formats import Question
from unitok.eval.replies import content
from unitok.generate import Sampler
from unitok.segment import Segment

BATCH = 32
PREFACE = 320
"""Most ids of the answer to what is asked first."""


def submission(
    sampler: Sampler,
    data: Path,
    questions: Sequence[Question],
    out: Path,
    draws: int = predictions.MOST - 1,
    temperature: float = 1.0,
    budget: int = 48,
    first: str = "",
) -> list[str]:
    """Write the submission of a run, and say which questions it cannot answer.

    Args:
        sampler: the model.
        data: records with turns whose keys are question ids.
        questions: those that are asked.
        out: file to write.
        draws, temperature, budget: as in `answers`.
        first: what is asked about a scene before its question; the model then reads its own answer, too.

    Raises:
        ValueError: no question has a record.
    """
    chosen, problems = matched(data, questions)
    if first:
        chosen = prefaced(sampler, chosen, first)
    documents, refused = documents_of(chosen, sampler.vocabulary, sampler.modalities)
    problems += [f"{said}; left out" for said in refused.values()]
    places = sorted(documents, key=lambda at: sum(len(part.codes) for part in documents[at].segments))
    found = answers(sampler, [documents[at] for at in places], draws, temperature, budget)
    predictions.write(
        out, questions, {chosen[at].key: given for at, given in zip(places, found, strict=True)}
    )
    return problems


def matched(data: Path, questions: Sequence[Question]) -> tuple[list[Record], list[str]]:
    """The records of the questions, and sentences on scenes and records that are not there or cannot be read.

    Raises:
        ValueError: no question has a record.
    """
    wanted = {question.id: question for question in questions}
    found: dict[str, Record] = {}
    problems = []
    for record in read(data):
        if isinstance(record, BadRecord):
            problems.append(f"{record.where}: {record.reason}; left out")
        elif record.key in found:
            problems.append(f"{record.where}: question {record.key!r} is there already; the first is kept")
        elif record.key in wanted:
            found[record.key] = record
    absent: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        if question.id not in found:
            absent[question.scene].append(question.id)
    if not found:
        raise ValueError(
            f"no record of {data} has a question's id as its key: give the records made with the questions"
        )
    for scene, missing in absent.items():
        problems.append(
            f"scene {scene!r}: {len(missing)} questions, the first {missing[0]!r}, have no record in {data.name}"
        )
    return list(found.values()), problems


def prefaced(sampler: Sampler, records: Sequence[Record], first: str) -> list[Record]:
    """The records with the question `first` about the scene, and the greedy answer to it, before their own question.

    Records that cannot be encoded stay as they are.

    Raises:
        ValueError: a record whose first turn is not a scene with a question behind it.
    """
    text = sampler.vocabulary.text or ""
    opening = [_asking(record, first, text) for record in records]
    documents, _ = documents_of(opening, sampler.vocabulary, sampler.modalities)
    found = answers(sampler, list(documents.values()), 0, 0.0, PREFACE)
    out = list(records)
    for at, (said, *_) in zip(documents, found, strict=True):
        _, question = content(records[at].fields["turns"][0], text)[-1]
        turns = [
            opening[at].fields["turns"][0],
            {"role": "assistant", "content": said or " "},
            {"role": "user", "content": str(question).strip()},
            *records[at].fields["turns"][1:],
        ]
        out[at] = records[at]._replace(fields={**records[at].fields, "turns": turns})
    return out


def _asking(record: Record, first: str, text: str) -> Record:
    """The record with another question about its scene, and no more turns than that and an answer."""
    turn, *_, answer = record.fields["turns"]
    *scene, last = content(turn, text)
    if not scene or last[0] != text:
        raise ValueError(
            f"{record.where}: {first!r} cannot come first, for the first turn is not a scene with a question behind it"
        )
    parts = [{block: value} for block, value in (*scene, (text, f" {first}"))]
    return record._replace(fields={**record.fields, "turns": [{**turn, "content": parts}, answer]})


def answers(
    sampler: Sampler, documents: Sequence[Document], draws: int, temperature: float, budget: int
) -> list[list[str]]:
    """The greedy answer and `draws` drawn ones to each document, stripped of spaces at both ends.

    Raises:
        ValueError: draws is not 0 to 9.
    """
    if not 0 <= draws < predictions.MOST:
        raise ValueError(
            f"{draws} draws: give 0 to {predictions.MOST - 1}, for with the greedy answer ten count"
        )
    text = sampler.vocabulary.text
    if text is None:
        raise ValueError("the vocabulary has no text block: this model cannot answer in words")
    out: list[list[str]] = []
    for start in track(range(0, len(documents), BATCH), "answers"):
        batch = documents[start : start + BATCH]
        how: dict[str, Any] = {"produce": [text], "first": text, "budget": budget}
        first = _texts(sampler, text, batch, temperature=0.0, **how)
        drawn = [
            _texts(sampler, text, batch, temperature=temperature, seed=1 + number, **how)
            for number in range(draws)
        ]
        for at, one in enumerate(first):
            others = Counter(line[at] for line in drawn)
            out.append([one, *(given for given, count in others.most_common() for _ in range(count))])
    return out


def _texts(sampler: Sampler, text: str, documents: Sequence[Document], **options: Any) -> list[str]:
    found = []
    for written in sampler.generate(documents, **options):
        codes = [part.codes for part in written if isinstance(part, Segment)]
        found.append("".join(sampler.modalities[text].decode(codes)).strip())
    return found
