"""Position encodings: fixed sine tables, and rotations of queries and keys (rotary embedding, RoPE).

    sincos(count, width)               table [count, width]                Vaswani et al., arXiv:1706.03762
    sincos_2d(rows, columns, width)    table [rows * columns, width]       halves of the channels: row, column
    angles(coordinates, dims)          angles [T, sum(dims) / 2]           Su et al., arXiv:2104.09864, per axis
    Turn(angles)(heads [B, H, T, d])   the heads, rotated

An axis of the coordinates owns `dims[axis]` channels of a head: one axis of all channels is the RoPE of
language models, (32, 32) is the 2D RoPE of FlowTok, (8, 28, 28) the three axes of Flux and Instella-T2I.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor

Pairs = Literal["neighbours", "halves"]
"""Which channels turn together: 2i with 2i + 1, or i with i + d/2."""


def sincos(count: int, width: int, *, theta: float = 10_000.0, cosine_first: bool = False) -> Tensor:
    """Table [count, width]: the sines of all frequencies, then the cosines (or the other way round)."""
    return sincos_at(torch.arange(count), width, theta=theta, cosine_first=cosine_first)


def sincos_at(
    positions: Tensor, width: int, *, theta: float = 10_000.0, cosine_first: bool = False
) -> Tensor:
    """The same at any positions [...]: [..., width], float32; computed in float64."""
    if width % 2:
        raise ValueError(f"a sine table of {width} channels: choose an even number")
    rate = theta ** (-torch.arange(width // 2, dtype=torch.float64, device=positions.device) / (width // 2))
    angle = positions.double().unsqueeze(-1) * rate
    both = (angle.cos(), angle.sin()) if cosine_first else (angle.sin(), angle.cos())
    return torch.cat(both, dim=-1).float()


def sincos_2d(rows: int, columns: int, width: int, *, theta: float = 10_000.0) -> Tensor:
    """Table [rows * columns, width]: the first half of the channels tells the column, the second the row."""
    if width % 4:
        raise ValueError(f"a 2D sine table of {width} channels: choose a multiple of 4")
    across, down = sincos(columns, width // 2, theta=theta), sincos(rows, width // 2, theta=theta)
    return torch.cat(
        [repeat(across, "c w -> (r c) w", r=rows), repeat(down, "r w -> (r c) w", c=columns)], dim=-1
    )


def grid(rows: int, columns: int) -> Tensor:
    """Coordinates (row, column) of a grid's cells, row by row: float32 [rows * columns, 2]."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([row, column], dim=-1).reshape(-1, 2).float()


def angles(coordinates: Tensor, dims: Sequence[int], *, theta: float = 10_000.0) -> Tensor:
    """Angles [T, sum(dims) / 2] of coordinates [T, axes]: axis a turns dims[a] / 2 pairs of channels.

    Raises:
        ValueError: not one even number of channels for each axis.
    """
    if coordinates.shape[-1] != len(dims) or any(dim % 2 for dim in dims):
        raise ValueError(
            f"channels {list(dims)} for {coordinates.shape[-1]} axes: give one even number for each axis"
        )
    found = []
    for axis, dim in enumerate(dims):
        rate = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=coordinates.device) / dim)
        found.append(coordinates[..., axis, None].double() * rate)
    return torch.cat(found, dim=-1)


@dataclass(frozen=True)
class Turn:
    """Rotates heads [B, H, T, d] by angles [n, d / 2], n <= T; the tokens after the first n stay as they are.

    Args:
        angles: from `angles`.
        pairs: which channels turn together.
        spread: how the angles are dealt out to the channels; other than `pairs` only where released weights
            were trained so (Instella-T2I deals to neighbours and turns halves, which is no rotation).
    """

    angles: Tensor
    pairs: Pairs = "neighbours"
    spread: Pairs | None = None

    def __call__(self, heads: Tensor) -> Tensor:
        """Rotate; works in float32 and gives back the dtype of `heads`."""
        count = self.angles.shape[0]
        turned = self._turn(heads[:, :, :count].float()).to(heads.dtype)
        return turned if heads.shape[2] == count else torch.cat([turned, heads[:, :, count:]], dim=2)

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Cosines and sines of all channels [n, d], made once for all layers that turn alike."""
        if (self.spread or self.pairs) == "neighbours":
            angle = repeat(self.angles, "t d -> t (d two)", two=2)
        else:
            angle = repeat(self.angles, "t d -> t (two d)", two=2)
        return angle.cos().float(), angle.sin().float()

    def _turn(self, x: Tensor) -> Tensor:
        cos, sin = self._table
        turned: Tensor = x * cos.to(x.device) + self._partner(x) * sin.to(x.device)
        return turned

    def _partner(self, x: Tensor) -> Tensor:
        if self.pairs == "halves":
            first, second = x.chunk(2, dim=-1)
            return torch.cat([-second, first], dim=-1)
        first, second = rearrange(x, "b h t (d two) -> two b h t d", two=2)
        partner: Tensor = rearrange([-second, first], "two b h t d -> b h t (d two)")
        return partner
