"""Ids as they come, told as events.

("text", str)          whole characters that are new; the deltas of one stretch of text join to all of it
("begin", name)        a span opens
("codes", name, ids)   new flat local ids of the open span, int64 [1]
("end", name, item)    the span closed, and the item it decodes to
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from unitok.block import Block
from unitok.modality import Codes, Item, Modality
from unitok.vocabulary import Vocabulary

Event = (
    tuple[Literal["text"], str]
    | tuple[Literal["begin"], str]
    | tuple[Literal["codes"], str, Tensor]
    | tuple[Literal["end"], str, Item]
)


class Teller:
    """Turns the ids of one row into events, one id at a time."""

    def __init__(self, vocabulary: Vocabulary, modalities: Mapping[str, Modality]) -> None:
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
