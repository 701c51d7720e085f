"""Nested dropout (Rippel et al., arXiv:1402.0915): training keeps a random prefix of the codes, so that every prefix
decodes, and the first codes carry most.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unitok.budget import Kind, shares


def draw(kind: Kind, lengths: Sequence[int], count: int, full: float = 0.0) -> Tensor:
    """How many codes each of `count` items keeps: int64 [count], from torch's generator; see `unitok.budget.shares`."""
    chance = torch.tensor(shares(kind, lengths, full), dtype=torch.float64)
    return torch.tensor(lengths)[torch.multinomial(chance, count, replacement=True)]
