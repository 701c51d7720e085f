"""A stream in two forms: every code an id of its own, or the codes of a stacked position beside one another.

    serial   ids [N]                   parts one after another; the grammar and `Vocabulary.parse` speak it
    stacked  ids [L], more [L, M]      first parts, and further parts (-1 absent) in the column `more`

Without a stacked block both are the same and there is no column (None).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from unitok.block import Block
from unitok.modality import BadCodes


def serial(ids: Tensor, more: Tensor | None) -> Tensor:
    """The serial form, int64 [N], of ids [L] and more [L, M]."""
    if more is None:
        return ids
    every = torch.cat([ids[:, None], more], dim=1)  # [L, P]
    return every[every >= 0]


class Stacking:
    """The way back, for the blocks of one vocabulary.

    Args:
        blocks: of the vocabulary.
        size: of the vocabulary.
    """

    def __init__(self, blocks: Iterable[Block], size: int) -> None:
        stacked = [block for block in blocks if block.stacked]
        self.more = max([block.width for block in stacked], default=1) - 1
        self.ranges = {block.name: block.ranges[1:] for block in stacked}
        if stacked:
            self._part = torch.zeros(size, dtype=torch.int64)  # of every id; 0 begins a position
            self._further = torch.zeros(size, dtype=torch.int64)  # how many follow it beside it
        for block in stacked:
            (first, stop), *others = block.ranges
            self._further[first:stop] = len(others)
            for part, (start, end) in enumerate(others, start=1):
                self._part[start:end] = part

    def fold(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """The stacked form of serial ids [N].

        Raises:
            BadCodes: a position lacks a part, or has one in the wrong place.
        """
        if not self.more:
            return ids, None
        part = self._part[ids]
        begins = part == 0
        at = begins.long().cumsum(0) - 1
        first = ids[begins]
        more = torch.full((len(first), self.more), -1)
        if len(ids) and not begins[0]:
            raise BadCodes(f"position 0: id {int(ids[0])} is a further part, and nothing begins its position")
        more[at[~begins], part[~begins] - 1] = ids[~begins]
        whole = (more >= 0).sum(1) == self._further[first]
        if not whole.all() or not serial(first, more).equal(ids):
            wrong = int(torch.where(whole, 0, 1).argmax())
            raise BadCodes(
                f"position {wrong}: id {int(first[wrong])} needs {int(self._further[first[wrong]])} further parts, "
                f"in order, and has {more[wrong][more[wrong] >= 0].tolist()}"
            )
        return first, more
