"""Questions of records as documents that a model can answer; items may be files, and each is encoded once.

    documents, refused = questions(records, vocabulary, modalities)

Records have "turns" that end with the assistant's (see docs/data.md); what comes before is the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unitok.data.encode import Ask, Encoder, Refused, resolve
from unitok.data.sources import Record
from unitok.data.template import words
from unitok.document import Document, Segment
from unitok.eval.replies import split
from unitok.modality import Modality
from unitok.vocabulary import Vocabulary


def questions(
    records: Sequence[Record], vocabulary: Vocabulary, modalities: Mapping[str, Modality]
) -> tuple[dict[int, Document], dict[int, str]]:
    """Documents without their last turn by the records' place, and why the others have none."""
    encoder = Encoder(vocabulary, modalities)
    documents: dict[int, Document] = {}
    refused: dict[int, str] = {}
    for number, record in enumerate(records):
        try:
            documents[number] = _question(record, encoder)
        except ValueError as error:
            said = str(error)
            refused[number] = said if said.startswith(record.where) else f"{record.where}: {said}"
    return documents, refused


def sides(
    records: Sequence[Record], kind: str, text: str
) -> tuple[list[str], list[Record], list[str], list[str]]:
    """Of the records of a kind: the training answers, the other records, their answers, and what is wrong with the rest.

    Args:
        records: with "turns", "kind" and "split", and answers of one part.
        kind: which are taken.
        text: name of the text block.

    Raises:
        ValueError: a side has none.
    """
    known, held, right, refused = [], [], [], []
    for one in records:
        if one.fields.get("kind") != kind:
            continue
        try:
            answer = str(split(one, text)[1][0][1])
        except ValueError as error:
            refused.append(str(error))
            continue
        if one.fields.get("split") == "train":
            known.append(answer)
        else:
            held.append(one)
            right.append(answer)
    if not known or not held:
        raise ValueError(
            f"{len(known)} training and {len(held)} other records are of kind {kind!r}: need both"
        )
    return known, held, right, refused


def _question(record: Record, encoder: Encoder) -> Document:
    """Raises ValueError for what is malformed or cannot be encoded."""
    text = encoder.vocabulary.text or ""
    asked, _ = split(record, text)
    turns = []
    for role, parts in asked:
        wanted: list[Ask] = []
        for block, value in parts:
            if block not in encoder.modalities:
                raise ValueError(f"unknown block {block!r}: there are {', '.join(encoder.modalities)}")
            item = resolve(words(value), record.root)
            last = wanted[-1] if wanted else None
            if last and block == text == last.block and isinstance(item, str) and isinstance(last.value, str):
                wanted[-1] = Ask(block, last.value + item, 1)  # as in training: neighbouring text is one
            else:
                wanted.append(Ask(block, item, 1))
        answers = encoder.encode(wanted)
        segments = []
        for one in wanted:
            codes = answers[one]
            if isinstance(codes, Refused):
                raise ValueError(codes.reason)
            segments.append(Segment(one.block, codes[0]))
        turns.append((role, segments))
    return Document.chat(turns, key=record.key)
