"""Ask a model about the items of records, one question each, and take its answers as text.

asker = Asker(sampler, {"image": "image", "caption": "text"})
texts = asker.answers("{image} What does the picture show?", records, temperature=0.0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.progress import track

from unitok.data.sources import Record
from unitok.data.template import PLACE
from unitok.document import Document, segment
from unitok.eval.text import words
from unitok.generate import Sampler
from unitok.modality import Item
from unitok.segment import Segment

BATCH = 32


class Asker:
    """Fills the user's side of a chat template with a record's items and samples the answer.

    Args:
        sampler: the model; its vocabulary must have text.
        blocks: field of a record -> block, as a source of a run has it.
    """

    def __init__(self, sampler: Sampler, blocks: Mapping[str, str]) -> None:
        if sampler.vocabulary.text is None:
            raise ValueError("the vocabulary has no text block: this model cannot answer in words")
        self.sampler, self.blocks, self.text = sampler, blocks, sampler.vocabulary.text

    def item(self, record: Record, field: str) -> Item:
        """A field's value as an item: files are loaded, all else is the item itself."""
        value = record.fields[field]
        if isinstance(value, dict) and "file" in value:
            return self.sampler.modalities[self.blocks[field]].load(record.root / value["file"])
        return value

    def question(self, template: str, record: Record) -> Document:
        """The user's turn."""
        content = []
        for part in filter(None, PLACE.split(template)):
            if part.startswith("{"):
                modality = self.sampler.modalities[self.blocks[part[1:-1]]]
                content.append(segment(modality, self.item(record, part[1:-1])))
            else:
                content.append(segment(self.sampler.modalities[self.text], part))
        return Document.chat([("user", content)])

    def answers(self, template: str, records: Sequence[Record], **options: Any) -> list[str]:
        """What is answered to each record; `options` are those of `Sampler.generate`."""
        found = []
        for start in track(range(0, len(records), BATCH), "answers"):
            asked = [self.question(template, record) for record in records[start : start + BATCH]]
            for written in self.sampler.generate(asked, produce=[self.text], first=self.text, **options):
                codes = [part.codes for part in written if isinstance(part, Segment)]
                found.append("".join(self.sampler.modalities[self.text].decode(codes)))
        return found


def plain(text: str) -> str:
    """Lower-case words without punctuation: the form in which captions are compared."""
    return " ".join(word for word in words(text) if word.isalnum())


def captions(record: Record, field: str) -> list[str]:
    """The captions of a record, of which a string is one.

    Raises:
        ValueError: there is none.
    """
    said = record.fields.get(field)
    texts = [said] if isinstance(said, str) else list(said or [])
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{record.where}: {field} is {said!r}: give a caption or a list of captions")
    return texts
