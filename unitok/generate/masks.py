"""The grammar's masks where the logits are, and which of them leave no choice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unitok.grammar import Grammar, State


class Masks:
    """Lines of the grammar's table on one device. A line never changes once it is met, so it is copied once."""

    def __init__(self, grammar: Grammar, device: torch.device) -> None:
        self._grammar = grammar
        self._device = device
        self._table = grammar.table[:0].to(device)
        self._only: list[int] = []

    def of(self, states: Sequence[State]) -> tuple[Tensor, list[int]]:
        """Lines int64 [B] for `take`, and for each row the one id it may take, or -1 if there is a choice."""
        lines = self._grammar.rows(states)
        wanted = lines.tolist()
        if max(wanted) >= len(self._only):
            self._learn(max(wanted) + 1)
        return lines, [self._only[line] for line in wanted]

    def take(self, lines: Tensor) -> Tensor:
        """bool [B, V] of those lines."""
        return self._table[lines.to(self._device)]

    def _learn(self, count: int) -> None:
        table = self._grammar.table[:count]
        fresh = table[len(self._only) :]
        first = fresh.to(torch.uint8).argmax(1)
        alone = fresh.sum(1) == 1
        self._only += torch.where(alone, first, -1).tolist()
        self._table = table.to(self._device)
