"""Records to rendered documents: forms are filled, values encoded together, long text spread over documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unitok.data.arrange import arranged, drawn
from unitok.data.config import SourceConfig
from unitok.data.encode import Answer, Ask, Encoder, Refused, resolve
from unitok.data.inputs import Inputs
from unitok.data.sources.longtext import pieces
from unitok.data.sources.record import BadRecord, Record
from unitok.data.tally import Tally
from unitok.data.template import OWN, Draft, Form, MissingField, Part, drafts, own_form, words
from unitok.data.writer import StoreWriter
from unitok.document import Document, Rendered, Segment, TooLong, Turn
from unitok.modality import Modality
from unitok.vocabulary import Vocabulary

MARKS = 2  # `doc` and `end` of a plain document
Task = tuple[Record, list[Form]]
Drafted = tuple[Record, list[Draft]]


class Builder:
    """Makes documents of at most `longest` tokens. One builder serves all sources and shares their codes.

    Args:
        vocabulary: the shared vocabulary.
        modalities: by block.
        longest: most tokens of a document.
    """

    def __init__(self, vocabulary: Vocabulary, modalities: Mapping[str, Modality], longest: int) -> None:
        self.vocabulary, self.modalities, self.longest = vocabulary, modalities, longest
        self.encoder = Encoder(vocabulary, modalities)
        self.forms: list[Form] = []
        self.variants = 1
        self.inputs: Inputs | None = None
        self.source = SourceConfig(path="")

    def begin(self, forms: list[Form], variants: int, inputs: Inputs, source: SourceConfig) -> None:
        """Turn to a source: its forms, variants per item, where the files it reads are noted, and its table."""
        self.forms, self.variants, self.inputs, self.source = forms, variants, inputs, source

    def add(self, records: Sequence[Record], writer: StoreWriter, tally: Tally) -> Iterator[BadRecord]:
        """Write the documents of a batch of records; gives one BadRecord for each that is not used in full."""
        reasons: dict[int, str] = {}
        tasks: dict[int, Task] = {}
        for number, record in enumerate(records):
            try:
                tasks[number] = self._task(record)
            except ValueError as error:
                reasons[number] = str(error)
        drafted = self._drafts(tasks, reasons)
        answers = self._answers(part for number in drafted for part in self._parts(drafted[number]))
        for number, (record, made) in drafted.items():
            for draft in made:
                refused = self._write(record, draft, answers, writer, tally)
                if refused is not None:
                    reasons.setdefault(number, refused)
        tally.documents, tally.tokens = writer.documents, writer.tokens
        for number in sorted(reasons):
            yield BadRecord(records[number].where, reasons[number])

    # ---------------------------------------------------------------- forms to drafts

    def _task(self, record: Record) -> Task:
        if any(name in record.fields for name in OWN):
            form, record = own_form(record, self.vocabulary)
            return record, [form]
        if not self.forms:
            raise ValueError('the source has no template and the record neither "document" nor "turns"')
        return record, self.forms

    def _drafts(self, tasks: Mapping[int, Task], reasons: dict[int, str]) -> dict[int, Drafted]:
        """All drafts; items are loaded and encoded first, since only then the number of variants is known."""
        asks = []
        for record, forms in tasks.values():
            for block, value in _values(record, forms):
                if not (block == self.vocabulary.text and isinstance(value, str)):
                    ask = self._ask(block, value, record)
                    asks += [] if isinstance(ask, Refused) else [ask]
        known = self._encode(asks)
        out: dict[int, Drafted] = {}
        for number, (record, forms) in tasks.items():

            def count(block: str, value: Any, record: Record = record) -> int:
                ask = self._ask(block, value, record)
                answer = ask if isinstance(ask, Refused) else known.get(ask)
                return len(answer) if isinstance(answer, list) else 1

            filled: list[tuple[float, list[Draft]]] = []
            missing = None
            shares = self.source.shares if len(self.source.shares) == len(forms) else (1.0,) * len(forms)
            for form, share in zip(forms, shares, strict=True):
                try:
                    filled.append((share, drafts(form, record, self.vocabulary.text, self.variants, count)))
                except MissingField as error:
                    missing = str(error)
            made = self._arranged(filled, record.key)
            if missing is not None and not made:
                reasons[number] = missing
            out[number] = record, made
        return out

    def _arranged(self, filled: list[tuple[float, list[Draft]]], key: str) -> list[Draft]:
        """The drafts that become documents: of all templates or of those drawn, items where they are to stand."""
        source, text = self.source, self.vocabulary.text
        chosen = [drawn(filled, key)] if source.shares else [made for _, made in filled]
        return [
            piece
            for made in chosen
            for variant, draft in enumerate(made)
            for piece in arranged(draft, key, variant, text, source.items, source.swap)
        ]

    def _ask(self, block: str, value: Any, record: Record) -> Ask | Refused:
        try:
            value = resolve(words(value), record.root)
        except ValueError as error:
            return Refused(str(error))
        return Ask(block, value, 1 if block == self.vocabulary.text else self.variants)

    # ---------------------------------------------------------------- drafts to documents

    def _parts(self, drafted: Drafted) -> Iterator[tuple[Record, Part]]:
        record, made = drafted
        for draft in made:
            for part in draft.parts:
                yield record, part

    def _answers(self, parts: Iterator[tuple[Record, Part]]) -> dict[Ask, Answer]:
        asks = (self._ask(part.block, part.value, record) for record, part in parts)
        return self._encode([ask for ask in asks if isinstance(ask, Ask)])

    def _encode(self, asks: list[Ask]) -> dict[Ask, Answer]:
        for ask in asks:
            if self.inputs is not None and isinstance(ask.value, Path):
                self.inputs.add(ask.value)
        return self.encoder.encode(asks)

    def _write(
        self, record: Record, draft: Draft, answers: Mapping[Ask, Answer], writer: StoreWriter, tally: Tally
    ) -> str | None:
        """Write a draft's documents; the reason if it has none."""
        turns: list[tuple[str | None, list[Segment]]] = []
        for role, parts in draft.turns:
            segments = []
            for part in parts:
                ask = self._ask(part.block, part.value, record)
                answer = ask if isinstance(ask, Refused) else answers[ask]
                if isinstance(answer, Refused):
                    return answer.reason
                codes = answer[part.variant % len(answer)]
                segments.append(Segment(part.block, codes, 0.0 if part.given else 1.0))
            turns.append((role, segments))
        if turns[0][0] is None:
            document = Document.of(*turns[0][1], key=record.key)
        else:
            document = Document.chat([(role or "", segments) for role, segments in turns], key=record.key)
        try:
            for rendered in self._fitted(document, draft, tally):
                writer.add(rendered, record.key, draft.form)
        except TooLong as error:
            tally.too_long += 1
            return str(error)
        return None

    def _fitted(self, document: Document, draft: Draft, tally: Tally) -> list[Rendered]:
        """The document, or what becomes of it if it is longer than allowed."""
        untouched = document
        if self.source.shorten:
            document = self._within(document)
        rendered = document.render(self.vocabulary)
        if len(rendered.ids) <= self.longest:
            return [rendered]
        plain = draft.turns[0][0] is None
        part = draft.parts[0]
        if plain and any(part.given for part in draft.parts):
            raise TooLong(
                f"a document of {len(rendered.ids)} ids has parts without loss, so it cannot go on in a further one: "
                f"raise max_tokens above {self.longest}"
            )
        whole = [document]
        if (
            plain
            and len(draft.parts) == 1
            and part.block == self.vocabulary.text
            and isinstance(part.value, str)
        ):
            codes = self.modalities[part.block].encode(self._spread(part.value))
            whole = [Document.of(Segment(part.block, one), key=document.key) for one in codes]
        fits = [fit for one in whole for fit in one.fit(self.vocabulary, self.modalities, self.longest)]
        tally.shortened += not plain
        return [fit.render(self.vocabulary) for fit in self._regained(untouched, fits)]

    def _within(self, document: Document) -> Document:
        return document.within(self.vocabulary, self.modalities, self.longest, self.source.shorten)

    def _regained(self, document: Document, fits: Sequence[Document]) -> list[Document]:
        """What became of a document, its items as long again as their own piece of it allows."""
        names = self.source.shorten
        if not names:
            return list(fits)
        codes = iter([s.codes for s in document.segments if s.name in names])

        def own(segment: Segment) -> Segment:
            return replace(segment, codes=next(codes)) if segment.name in names else segment

        out = []
        for fit in fits:
            turns = tuple(Turn(turn.role, tuple(own(s) for s in turn.segments)) for turn in fit.turns)
            out.append(self._within(Document(turns, fit.key)))
        return out

    def _spread(self, text: str) -> list[str]:
        """A long text as stretches that fill a document each, cut at the best borders."""
        room = self.longest - MARKS
        cut = pieces(text, room)
        sizes = [len(codes) for codes in self.modalities[self.vocabulary.text or ""].encode(cut)]
        out: list[str] = []
        left = 0
        for piece, size in zip(cut, sizes, strict=True):
            if size > left:
                out.append("")
                left = room
            out[-1] += piece
            left -= size
        return out


def _values(record: Record, forms: Sequence[Form]) -> Iterator[tuple[str, Any]]:
    """Block and value of every field that the forms name; of a list all its members."""
    blocks = {
        (slot.field, slot.block)
        for form in forms
        for _, slots in form.turns
        for slot in slots
        if slot.field is not None
    }
    for field, block in sorted(blocks):
        value = record.fields.get(field)
        for one in value if isinstance(value, list) else [value]:
            if one not in (None, ""):
                yield block, one
