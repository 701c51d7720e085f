"""Tokens that share a cell: bins of a virtual line or plane, voxels in space, and sums over them.

    cells = Cells.of(voxels(centres, .16))      # from a number for each token [B, T], per cloud
    cells.mean(x [B, T, C])                     # [n, C], one row for each occupied cell of the batch
    cells.spread(rows [n, C])                   # [B, T, C], each token gets its cell's row

Only occupied cells exist, in the order of (cloud, number).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def line_bins(places: Tensor, edge: float) -> Tensor:
    """Number of the bin of each place on a line: int64, as `places`."""
    return (places / edge).floor().long()


def plane_bins(pixels: Tensor, edge: float, canvas: tuple[int, int]) -> Tensor:
    """Number of the square bin of each pixel (x, y) [..., 2] of a canvas (height, width), row by row: int64 [...]."""
    column, row = (pixels / edge).floor().long().unbind(-1)
    return column + row * math.ceil(canvas[1] / edge)


def voxels(centres: Tensor, edge: float) -> Tensor:
    """Number of the voxel of each centre [B, T, 3], counted from its cloud's least coordinates: int64 [B, T]."""
    cell = ((centres - centres.amin(1, keepdim=True)) / edge).floor().long()  # [B, T, 3]
    size = cell.flatten(0, 1).amax(0) + 1
    return cell[..., 0] + size[0] * (cell[..., 1] + size[1] * cell[..., 2])


@dataclass(frozen=True, eq=False)
class Cells:
    """Which tokens of a batch [B, T] share a cell.

    Args:
        index: int64 [B * T], the cell of each token, 0 .. n - 1.
        counts: tokens of each cell, [n].
        shape: (B, T).
    """

    index: Tensor
    counts: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, numbers: Tensor) -> Cells:
        """Cells of tokens with equal numbers int64 [B, T] in one cloud."""
        batch, tokens = numbers.shape
        low, high = int(numbers.amin()), int(numbers.amax())
        cloud = torch.arange(batch, device=numbers.device)[:, None]
        keys = (cloud * (high - low + 1) + numbers - low).flatten()
        _, index, counts = keys.unique(return_inverse=True, return_counts=True)
        return cls(index, counts, (batch, tokens))

    def __len__(self) -> int:
        return len(self.counts)

    def mean(self, x: Tensor) -> Tensor:
        """Means over cells [n, C] of x [B, T, C]."""
        rows = x.flatten(0, 1)
        total = rows.new_zeros(len(self), rows.shape[1])
        total = total.scatter_add(0, self.index[:, None].expand_as(rows), rows)
        return total / self.counts[:, None].to(x.dtype)

    def maximum(self, x: Tensor) -> Tensor:
        """Largest values in cells [n, C] of x [B, T, C]."""
        rows = x.flatten(0, 1)
        empty = rows.new_full((len(self), rows.shape[1]), -torch.inf)
        return empty.scatter_reduce(0, self.index[:, None].expand_as(rows), rows, "amax")

    def spread(self, rows: Tensor) -> Tensor:
        """Rows [n, C] of cells for their tokens: [B, T, C]."""
        return rows[self.index].reshape(*self.shape, -1)

    def together(self) -> Tensor:
        """Which tokens of a cloud share a cell: bool [B, T, T]."""
        index = self.index.reshape(self.shape)
        return index[:, :, None] == index[:, None, :]
