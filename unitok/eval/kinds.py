"""Records with turns sorted by their field "kind": those to ask, and the answers that were trained on.

found = by_kind(path, vocabulary, modalities, most=2000)
found.asked["gap"] -> records that are held out    found.trained["gap"] -> ["0.25", ...]    found.bad -> sentences
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unitok.data.sources import BadRecord, Record, read
from unitok.eval.replies import split
from unitok.modality import Modality
from unitok.vocabulary import Vocabulary


@dataclass(frozen=True)
class Kinds:
    """Records by kind; `bad` has a sentence for each that cannot be asked or compared."""

    asked: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    trained: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    bad: list[str] = field(default_factory=list)


def by_kind(path: Path, vocabulary: Vocabulary, modalities: Mapping[str, Modality], most: int) -> Kinds:
    """The records of a source; at most so many of a kind are to be asked.

    Raises:
        ValueError: nothing is to be asked, or a `most` below 1.
        FileNotFoundError: no such source.
    """
    if most < 1:
        raise ValueError(f"most={most} is out of range: ask 1 or more of a kind")
    found = Kinds()
    for record in read(path):
        try:
            block, value = _answer(record, vocabulary)
            assert isinstance(record, Record)
            kind = str(record.fields.get("kind", "all"))
            if record.fields.get("split") == "train":
                found.trained[kind].append(value)
            elif len(found.asked.get(kind, ())) < most:
                if block != vocabulary.text:
                    modalities[block].label(value)  # an answer that is no item cannot be compared with
                found.asked[kind].append(record)
        except ValueError as error:
            said = str(error)
            found.bad.append(said if said.startswith(record.where) else f"{record.where}: {said}")
    if not any(found.asked.values()):
        why = f" ({len(found.bad)} cannot be read, the first: {found.bad[0]})" if found.bad else ""
        raise ValueError(f"{path} has no record whose split is not train{why}: there is nothing to ask")
    return found


def _answer(record: Record | BadRecord, vocabulary: Vocabulary) -> tuple[str, str]:
    """Block and value of the first part of a record's answer."""
    if isinstance(record, BadRecord):
        raise ValueError(record.reason)
    block, value = split(record, vocabulary.text or "")[1][0]
    if block not in vocabulary.blocks:
        raise ValueError(f"the answer is of the block {block!r}, which the run does not have")
    if not isinstance(value, str):
        raise ValueError(f"the answer is {value!r:.60}: give a string")
    return block, value
