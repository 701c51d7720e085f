"""Documents: interleaved segments and chat turns, and the one template that renders them to shared ids.

Plain:  doc  segment...  end                      loss on every segment by its weight, and on `end`
Chat:   doc  (role  segment...  turn)...  end     loss on assistant segments and the `turn` that closes them

Law: what `Rendered.parse` makes of `document.render(vocabulary)` is the same as `document.normal(vocabulary)`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitok.modality import Codes, Item, Modality, nested_lengths
from unitok.segment import Mark, Segment
from unitok.stacking import serial
from unitok.vocabulary import Vocabulary

__all__ = ["Document", "Mark", "Rendered", "Segment", "TooLong", "Turn", "segment"]

ROLES = ("system", "user", "assistant")
Companions = tuple[Tensor, Tensor]
"""Sparse companions: positions int64 [m] and values [m, width]."""


class TooLong(ValueError):
    """A document, or a framed span of one, does not fit and must not be cut."""


class Turn(NamedTuple):
    """What one side says; the role is None in a plain document."""

    role: str | None
    segments: tuple[Segment, ...]


class Rendered(NamedTuple):
    """A document as columns. `weight[t]` and `kind[t]` belong to token t as a target.

    ids int64 [L]; weight float32 [L]; kind uint8 [L] (see `Vocabulary.kinds`);
    side {channel: (at int64 [m], values [m, width])}; null bool [L]: absent from the null form, in which
    the bodies of weight-0 segments are removed and the role marks kept.
    """

    ids: Tensor
    weight: Tensor
    kind: Tensor
    side: Mapping[str, Companions]
    null: Tensor
    more: Tensor | None = None

    @property
    def serial(self) -> Tensor:
        """All shared ids, int64 [N], the parts of a stacked position one after another."""
        return serial(self.ids, self.more)

    def parse(self, vocabulary: Vocabulary) -> list[Segment | Mark]:
        """Segments and marks; the inverse of `Document.render`."""
        return vocabulary.parse(self.serial)

    def nulled(self) -> Rendered:
        """The null form: the condition dropped, for training and sampling with guidance."""
        return self._keep(~self.null)

    def until(self, stop: int) -> Rendered:
        """The first `stop` positions."""
        return self._keep(torch.arange(len(self.ids)) < stop)

    def _keep(self, keep: Tensor) -> Rendered:
        where = keep.long().cumsum(0) - 1
        side = {}
        for name, (at, values) in self.side.items():
            kept = keep[at]
            if kept.any():
                side[name] = (where[at[kept]], values[kept])
        more = None if self.more is None else self.more[keep]
        return Rendered(self.ids[keep], self.weight[keep], self.kind[keep], side, self.null[keep], more)


@dataclass(frozen=True, eq=False)
class Document:
    """Turns of segments. Build one with `Document.of` (plain) or `Document.chat`."""

    turns: tuple[Turn, ...]
    key: str = ""

    @classmethod
    def of(cls, *segments: Segment, key: str = "") -> Document:
        """A plain document: segments one after another, without roles."""
        return cls((Turn(None, segments),), key)

    @classmethod
    def chat(cls, turns: Sequence[tuple[str, Sequence[Segment]]], key: str = "") -> Document:
        """A chat. Only assistant segments keep their weight; all others get 0."""
        out = []
        for role, segments in turns:
            if role not in ROLES:
                raise ValueError(f"role {role!r} is unknown: use one of {', '.join(ROLES)}")
            kept = segments if role == "assistant" else [replace(s, weight=0.0) for s in segments]
            out.append(Turn(role, tuple(kept)))
        return cls(tuple(out), key)

    @property
    def segments(self) -> list[Segment]:
        """All segments, in order."""
        return [segment for turn in self.turns for segment in turn.segments]

    def normal(self, vocabulary: Vocabulary) -> list[Segment | Mark]:
        """What parsing the rendered document gives back: neighbouring text joined, companions and weights gone."""
        out: list[Segment | Mark] = [Mark("doc")]
        for turn in self.turns:
            if turn.role is not None:
                out.append(Mark(turn.role))
            out.extend(turn.segments)
            if turn.role is not None:
                out.append(Mark("turn"))
        return _joined([*out, Mark("end")], vocabulary.text)

    def render(self, vocabulary: Vocabulary) -> Rendered:
        """The document as columns.

        Raises:
            BadCodes: a segment's codes do not belong to its block.
        """
        columns = _Columns(vocabulary)
        columns.mark("doc", 0.0)
        for turn in self.turns:
            if turn.role is not None:
                columns.mark(turn.role, 0.0)
            for segment in turn.segments:
                columns.segment(segment)
            if turn.role is not None:
                columns.mark("turn", float(turn.role == "assistant"))
        columns.mark("end", float(all(turn.role is None for turn in self.turns)))
        return columns.rendered()

    def prompt(self, vocabulary: Vocabulary, unfinished: bool = False) -> Rendered:
        """What a model is given to go on from.

        Of a chat everything up to and including the last `assistant` mark (added when the last turn is
        another's; what stands in a last assistant turn is left out); of a plain document everything but `end`.
        If `unfinished`, what stands in a last turn stays, and its last span is left open, to be gone on with; it is
        then part of the null form, too, whatever its weight.

        Raises:
            ValueError: a turn that is not the assistant's is to be left unfinished.
        """
        turns = self.turns
        if unfinished:
            if not turns or turns[-1].role not in (None, "assistant"):
                raise ValueError(
                    f"the last turn is of {turns[-1].role if turns else 'nobody'!r}: only the assistant's can be left "
                    "unfinished"
                )
            rendered = self.render(vocabulary)
            chat, last = turns[-1].role is not None, turns[-1].segments[-1:]
            framed = bool(last) and vocabulary.block(last[0].name).framed
            if framed:
                span = len(vocabulary.frame(last[0].name, last[0].codes)) + 1 + chat
                rendered.null[len(rendered.null) - span :] = False
            return rendered.until(len(rendered.ids) - 1 - chat - framed)
        if turns and turns[-1].role is None:
            rendered = self.render(vocabulary)
            return rendered.until(len(rendered.ids) - 1)
        if turns and turns[-1].role == "assistant":
            turns = turns[:-1]
        asked = Document((*turns, Turn("assistant", ())), self.key).render(vocabulary)
        return asked.until(len(asked.ids) - 2)

    def within(
        self, vocabulary: Vocabulary, modalities: Mapping[str, Modality], limit: int, blocks: Collection[str]
    ) -> Document:
        """This document, its items of some blocks with nested codes shortened, evenly, until it has `limit` ids at most.

        Where even the shortest items do not fit, they are as short as can be, and the rest is up to `fit`.

        Raises:
            ValueError: a block that is not there, or whose codes cannot be cut.
        """
        lengths = {name: nested_lengths(name, modalities) for name in sorted(blocks)}
        over = len(self.render(vocabulary).ids) - limit
        found = [s for s in self.segments if s.name in lengths]
        if over <= 0 or not found:
            return self
        strides = [vocabulary.block(s.name).stride for s in found]
        places = [bisect_right(lengths[s.name], len(s.codes)) - 1 for s in found]  # which length each has
        while over > 0 and any(places):
            sizes = [lengths[s.name][place] for s, place in zip(found, places, strict=True)]
            spent = [
                size * stride if place else 0
                for size, stride, place in zip(sizes, strides, places, strict=True)
            ]
            at = spent.index(max(spent))  # the longest gives way first
            places[at] -= 1
            over -= (sizes[at] - lengths[found[at].name][places[at]]) * strides[at]
        sizes = [lengths[s.name][place] for s, place in zip(found, places, strict=True)]
        left = iter(sizes)
        turns = []
        for turn in self.turns:
            segments = [
                replace(s, codes=modalities[s.name].shorten(s.codes, next(left))) if s.name in lengths else s
                for s in turn.segments
            ]
            turns.append(Turn(turn.role, tuple(segments)))
        return Document(tuple(turns), self.key)

    def fit(self, vocabulary: Vocabulary, modalities: Mapping[str, Modality], limit: int) -> list[Document]:
        """Documents of at most `limit` ids each that hold all of this one.

        Long text of a plain document goes on in further documents, cut where a body may end; a chat keeps
        its first turns and is never split. A framed span is never cut.

        Raises:
            TooLong: a framed span, or the first exchange of a chat, does not fit.
        """
        if len(self.render(vocabulary).ids) <= limit:
            return [self]
        if any(turn.role is not None for turn in self.turns):
            return [self._first_turns(vocabulary, limit)]
        return self._split(vocabulary, modalities, limit)

    def _first_turns(self, vocabulary: Vocabulary, limit: int) -> Document:
        for count in range(len(self.turns) - 1, 0, -1):
            shorter = Document(self.turns[:count], self.key)
            if shorter.turns[-1].role == "assistant" and len(shorter.render(vocabulary).ids) <= limit:
                return shorter
        size = len(self.render(vocabulary).ids)
        raise TooLong(
            f"a chat of {size} ids has no first exchange within {limit}: raise seq_len or shorten it"
        )

    def _split(
        self, vocabulary: Vocabulary, modalities: Mapping[str, Modality], limit: int
    ) -> list[Document]:
        out: list[list[Segment]] = [[]]
        room = limit - 2
        for segment in self.segments:
            size = len(vocabulary.frame(segment.name, segment.codes))
            if vocabulary.block(segment.name).framed:
                if size > limit - 2:
                    raise TooLong(
                        f"a {segment.name} span of {size} ids does not fit into {limit} with its document marks: "
                        "raise seq_len"
                    )
                if size > room:
                    out.append([])
                    room = limit - 2
                out[-1].append(segment)
                room -= size
                continue
            ids = segment.codes.ids
            while len(ids):
                cut = _cut(modalities[segment.name], ids.tolist(), room)
                if cut == 0:
                    if room == limit - 2:
                        raise TooLong(f"text cannot be cut within {limit} ids: raise seq_len")
                    out.append([])
                    room = limit - 2
                    continue
                out[-1].append(replace(segment, codes=Codes(ids[:cut])))
                room -= cut
                ids = ids[cut:]
        if not any(out):
            raise TooLong(f"a document has 2 marks, which do not fit into {limit}: raise seq_len")
        return [Document.of(*segments, key=self.key) for segments in out if segments]


def _joined(stream: list[Segment | Mark], text: str | None) -> list[Segment | Mark]:
    """Neighbouring spans of text as one, empty ones left out, companions and weights dropped."""
    out: list[Segment | Mark] = []
    for part in stream:
        if isinstance(part, Mark):
            out.append(part)
        elif not len(part.codes):
            continue
        elif out and isinstance(out[-1], Segment) and out[-1].name == part.name == text:
            out[-1] = Segment(part.name, Codes(torch.cat([out[-1].codes.ids, part.codes.ids])))
        else:
            out.append(Segment(part.name, Codes(part.codes.ids)))
    return out


def _cut(text: Modality, ids: list[int], room: int) -> int:
    """The longest prefix of at most `room` ids after which the text may end."""
    if len(ids) <= room:
        return len(ids)
    cut = max(room, 0)
    while cut and not text.legal(ids[:cut]).end:
        cut -= 1
    return cut


def segment(modality: Modality, item: Item, weight: float = 1.0) -> Segment:
    """One item as a segment.

    Raises:
        BadItem: the item cannot be encoded.
    """
    return Segment(modality.spec.name, modality.encode([item])[0], weight)


class _Columns:
    """Collects the columns of one document."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.ids: list[Tensor] = []
        self.weight: list[Tensor] = []
        self.null: list[Tensor] = []
        self.more: list[Tensor] = []
        self.side: dict[str, list[Companions]] = {}
        self.length = 0

    def _add(self, ids: Tensor, weight: float, null: bool) -> None:
        self.ids.append(ids)
        self.weight.append(torch.full((len(ids),), weight))
        self.null.append(torch.full((len(ids),), null))
        self.length += len(ids)

    def mark(self, name: str, weight: float) -> None:
        self._add(torch.tensor([self.vocabulary.mark(name)]), weight, null=False)
        if self.vocabulary.more:
            self.more.append(torch.full((1, self.vocabulary.more), -1))

    def segment(self, segment: Segment) -> None:
        block = self.vocabulary.block(segment.name)
        start = self.length + int(block.framed)
        self._add(self.vocabulary.frame(segment.name, segment.codes), segment.weight, segment.weight == 0)
        if self.vocabulary.more:
            self.more.append(self.vocabulary.frame_more(segment.name, segment.codes))
        for channel, values in segment.codes.side.items():
            # Under loss a companion would tell the model what it is asked to predict.
            if segment.weight == 0 or block.side[channel].causal:
                at = start + torch.arange(len(segment.codes)) * block.stride
                self.side.setdefault(f"{segment.name}_{channel}", []).append((at, values))

    def rendered(self) -> Rendered:
        ids = torch.cat(self.ids)
        kind = torch.from_numpy(np.ascontiguousarray(self.vocabulary.kind_of(ids)))
        side = {
            name: (torch.cat([at for at, _ in parts]), torch.cat([values for _, values in parts]))
            for name, parts in self.side.items()
        }
        more = torch.cat(self.more) if self.vocabulary.more else None
        return Rendered(ids, torch.cat(self.weight), kind, side, torch.cat(self.null), more)
