"""Finite scalar quantization: Mentzer et al., arXiv:2309.15505, as published or in the symmetric form of
Parker et al., arXiv:2411.19842 (equal steps from -1 to 1, two levels allowed).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Quantized, Quantizer

EPSILON = 1e-3
Form = Literal["symmetric", "published"]


class FSQ(Quantizer):
    """Finite scalar quantization: channel i is squashed by tanh and rounded to one of levels[i] values.

    The id is a mixed-radix number whose first channel is the lowest digit: id = d0 + L0 * (d1 + L1 * ...).
    In the symmetric form digit d of L levels stands for the value 2d / (L - 1) - 1; in the published form for
    (d - L // 2) / (L // 2), and the squashing is shifted where L is even, so that zero rounds to a level.

    Args:
        levels: levels of each channel, (8, 6, 5); or one such tuple for each of the K positions, all with
            the same product, to spend one position's bits on few channels finely and another's on many
            coarsely. Shorter tuples are filled with channels of one level, which are always 0.
        form: "symmetric", or "published" as FlexTok's files have it (all levels at least 2).
        unrounded: in training, the share of items that pass without rounding.
        corrupt: in training, the share of positions whose code is replaced by a random one.
    """

    levels: Tensor
    base: Tensor

    def __init__(
        self,
        levels: Sequence[int] | Sequence[Sequence[int]],
        form: Form = "symmetric",
        *,
        unrounded: float = 0.0,
        corrupt: float = 0.0,
    ) -> None:
        super().__init__()
        table = [tuple(row) if isinstance(row, Sequence) else None for row in levels]
        rows = [row for row in table if row is not None] or [tuple(int(n) for n in levels)]  # type: ignore[arg-type]
        sizes = {math.prod(row) for row in rows}
        if len(sizes) != 1 or min(min(row, default=0) for row in rows) < 1 or max(sizes) < 2:
            raise ValueError(
                f"FSQ levels {list(levels)} are not usable: every level must be at least 1, and all "
                f"positions must have one product, at least 2 (here {sorted(sizes)})"
            )
        self.shared = len(rows) == 1 and table[0] is None
        if form == "published" and (not self.shared or min(rows[0]) < 2):
            raise ValueError(
                f"FSQ levels {list(levels)} in the published form: one tuple, every level at least 2"
            )
        self.form, self.unrounded, self.corrupt = form, unrounded, corrupt
        self.dim = max(len(row) for row in rows)
        self.size = sizes.pop()
        filled = torch.tensor([row + (1,) * (self.dim - len(row)) for row in rows])  # [1 or K, D]
        base = torch.cumprod(F.pad(filled, (1, 0), value=1), dim=-1)[:, :-1]
        self.register_buffer("levels", filled, persistent=False)
        self.register_buffer("base", base, persistent=False)

    def _at(self, table: Tensor, count: int) -> Tensor:
        """The rows of a [1 or K, D] table for `count` positions (a prefix of the K)."""
        if self.shared:
            return table
        if count > table.shape[0]:
            raise ValueError(f"{count} positions, but this FSQ has levels for {table.shape[0]}")
        return table[:count]

    def _place(self, z: Tensor) -> Tensor:
        """Where z [B, K, D] lies on each channel's scale of digits, not yet rounded: about 0 .. levels - 1."""
        levels = self._at(self.levels, z.shape[1])
        if self.form == "symmetric":
            return (torch.tanh(z) + 1) / 2 * (levels - 1)
        half = (levels - 1) * (1 + EPSILON) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(z + torch.atanh(offset / half)) * half - offset + levels // 2

    def _value(self, digits: Tensor) -> Tensor:
        levels = self._at(self.levels, digits.shape[1])
        if self.form == "symmetric":
            return torch.where(levels > 1, 2 * digits / (levels - 1).clamp(min=1) - 1, 0.0)
        return (digits - levels // 2) / (levels // 2)

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]; ids [B, K]."""
        place = self._place(z.float())
        digits = self._round(place)
        if self.training and self.corrupt:
            digits = self._corrupted(digits)
        ids = (digits * self._at(self.base, z.shape[1])).sum(-1)  # [B, K]
        soft = self._value(place)
        hard = self._value(digits)
        if self.training and self.unrounded:
            keep = torch.rand(len(z), 1, 1, device=z.device) < self.unrounded
            hard = torch.where(keep, soft.detach(), hard)
        z_q = soft + (hard - soft).detach()
        return Quantized(z_q.to(z.dtype), ids, {})

    def _round(self, place: Tensor) -> Tensor:
        # The published form rounds half to even (torch.round), the symmetric one up.
        digits = torch.round(place) if self.form == "published" else torch.floor(place + 0.5)
        return digits.long()

    def _corrupted(self, digits: Tensor) -> Tensor:
        fresh = (torch.rand_like(digits, dtype=torch.float32) * self._at(self.levels, digits.shape[1])).long()
        swap = torch.rand(digits.shape[:2], device=digits.device) < self.corrupt
        return torch.where(swap.unsqueeze(-1), fresh, digits)

    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes."""
        base, levels = self._at(self.base, ids.shape[1]), self._at(self.levels, ids.shape[1])
        return self._value(ids.unsqueeze(-1) // base % levels)  # [B, K, D]

    def inverse(self, ids: Tensor) -> Tensor:
        """Latents [B, K, D] in the middle of each code's cell, as they are before tanh."""
        if self.form == "symmetric":
            return torch.atanh(0.99 * self.lookup(ids))
        levels = self.levels
        half = (levels - 1) * (1 + EPSILON) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        place = self.lookup(ids) * (levels // 2) + offset
        return torch.atanh((place / half).clamp(-0.999, 0.999)) - torch.atanh(offset / half)

    def margin(self, z: Tensor) -> Tensor:
        """Distance [B, K] to the nearest rounding boundary, in levels."""
        place = self._place(z.float())
        gap = (place - torch.floor(place) - 0.5).abs()  # to the boundary between two digits
        gap = torch.where(self._at(self.levels, z.shape[1]) > 1, gap, torch.inf)
        return gap.amin(-1)
