"""The grammar's masks where the logits are, and which of them leave no choice.

A mask is added to the logits, 0 where an id is legal and -inf elsewhere: to choose between two values by a
boolean costs ten times as much on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unitok.grammar import Grammar
from unitok.phase import State


class Masks:
    """Lines of the grammar's table on one device; a line never changes once it is met, so it is copied once."""

    def __init__(self, grammar: Grammar, device: torch.device) -> None:
        self._grammar = grammar
        self._device = device
        self._table = torch.zeros(0, grammar.table.shape[1], device=device)
        self._only: list[int] = []

    def of(self, states: Sequence[State]) -> tuple[list[int], list[int]]:
        """Each row's line, and the one id that it may take, or -1 if there is a choice."""
        lines = self._grammar.rows(states)
        most = max(lines)
        if most >= len(self._only):
            self._learn(most + 1)
        return lines, [self._only[line] for line in lines]

    def apply(self, logits: Tensor, lines: Sequence[int], start: int = 0) -> Tensor:
        """Float32 logits [B, n] of the ids [start, start + n) with -inf for those that each row's line forbids."""
        if lines.count(lines[0]) == len(lines):
            return logits + self._table[lines[0], start : start + logits.shape[1]]
        # Through numpy, half the time of torch.tensor, and added in place: this runs every step.
        masks = self._table.index_select(0, torch.from_numpy(np.array(lines)).to(self._device))
        if logits.shape[1] != masks.shape[1]:
            return masks[:, start : start + logits.shape[1]] + logits
        return masks.add_(logits)

    def _learn(self, count: int) -> None:
        fresh = self._grammar.table[len(self._only) : count]
        first = fresh.to(torch.uint8).argmax(1)
        alone = fresh.sum(1) == 1
        self._only += torch.where(alone, first, -1).tolist()
        if count > len(self._table):
            # Twice as many as needed: growing line by line would copy the table each time.
            grown = torch.zeros(2 * count, self._table.shape[1], device=self._device)
            grown[: len(self._table)] = self._table
            self._table = grown
        self._table[count - len(fresh) : count] = torch.where(fresh, 0.0, float("-inf")).to(self._device)
