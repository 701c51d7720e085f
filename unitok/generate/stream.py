"""Ids as they come, told as events.

("text", str)          whole characters that are new; the deltas of one stretch of text join to all of it
("begin", name)        a span opens
("codes", name, ids)   new flat local ids of the open span, int64 [1]
("preview", name, item, n)   the coarser item that the first n codes of the open span are
("end", name, item)    the span closed, and the item it decodes to
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from unitok.block import Block
from unitok.modality import Codes, Item, Modality, nested_lengths
from unitok.vocabulary import Vocabulary

Event = (
    tuple[Literal["text"], str]
    | tuple[Literal["begin"], str]
    | tuple[Literal["codes"], str, Tensor]
    | tuple[Literal["preview"], str, Item, int]
    | tuple[Literal["end"], str, Item]
)


class Teller:
    """Turns the ids of one row into events, one id at a time.

    Args:
        vocabulary, modalities: of the ids.
        previews: block with nested codes -> the numbers of codes after which a coarser item is told.

    Raises:
        ValueError: a preview of a block whose codes cannot be cut, or at a length that no item has.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        modalities: Mapping[str, Modality],
        previews: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        self._previews = {name: frozenset(counts) for name, counts in (previews or {}).items()}
        for name, counts in self._previews.items():
            lengths = nested_lengths(name, modalities)
            if odd := sorted(counts - {*lengths}):
                raise ValueError(
                    f"no {name} has {odd[0]} codes: previews are at {lengths[:5]} … {lengths[-1]}"
                )
        self._vocabulary = vocabulary
        self._modalities = modalities
        self._text = vocabulary.blocks[vocabulary.text] if vocabulary.text else None
        self._begins = {block.begin: block for block in vocabulary.blocks.values() if block.framed}
        self._open: Block | None = None
        self._flat: list[int] = []
        self._told = ""

    def push(self, new: int) -> Iterator[Event]:
        """The events that one more id brings; ids must obey the grammar."""
        block = self._open
        if block is not None and new == block.end:
            codes = self._vocabulary.unflat(block.name, torch.tensor(self._flat))
            self._open, self._flat = None, []
            yield "end", block.name, self._modalities[block.name].decode([codes])[0]
        elif block is not None:
            self._flat.append(new - block.start)
            yield "codes", block.name, torch.tensor(self._flat[-1:])
            count, within = divmod(len(self._flat), block.width)
            if not within and count in self._previews.get(block.name, ()):
                codes = self._vocabulary.unflat(block.name, torch.tensor(self._flat))
                yield "preview", block.name, self._modalities[block.name].decode([codes])[0], count
        elif self._text is not None and self._text.start <= new < self._text.start + self._text.size:
            self._flat.append(new - self._text.start)
            if self._modalities[self._text.name].legal(self._flat).end:
                yield from self._tell()
        else:
            yield from self.close()
            self._open = self._begins.get(new)
            if self._open is not None:
                yield "begin", self._open.name

    def close(self) -> Iterator[Event]:
        """What is left of a stretch of text."""
        if self._open is None and self._flat:
            yield from self._tell()
        self._flat, self._told = [], ""

    def _tell(self) -> Iterator[Event]:
        """New whole characters; nothing while a later piece may still change what was told."""
        assert self._text is not None
        text = self._modalities[self._text.name].decode([Codes(torch.tensor(self._flat))])[0]
        if len(text) > len(self._told) and text.startswith(self._told):
            yield "text", text[len(self._told) :]
            self._told = text
