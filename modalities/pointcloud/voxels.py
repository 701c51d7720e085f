"""Voxel grids as clouds: points drawn evenly over the faces between full and empty cells.

    grids = unpack(packed uint8 [n, bytes])     bool [n, S, S, S], axis 2 up
    cloud = draw(grid, 1024, seed=7)            float32 [1024, 3], in cells

The surface is a staircase of one cell, so Chamfer distances between such clouds have a floor of their own and
cannot be compared with those of clouds that were drawn from meshes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Rows of packed bits [n, bytes] as grids [n, S, S, S] in C order, S being the largest that fits the bits.

    Raises:
        ValueError: not uint8 [n, bytes], or bytes that are no cube's.
    """
    if packed.ndim != 2 or packed.dtype != np.uint8:
        raise ValueError(f"voxels {list(packed.shape)} {packed.dtype}: give packed bits, uint8 [n, bytes]")
    side = int(np.floor(np.cbrt(8 * packed.shape[1]) + 1e-9))
    if side < 1 or -(-(side**3) // 8) != packed.shape[1]:
        raise ValueError(
            f"voxels of {packed.shape[1]} bytes a grid: a cube of {max(side, 1)} cells a side has "
            f"{-(-(max(side, 1) ** 3) // 8)}, so pack whole cubes"
        )
    return np.unpackbits(packed, axis=1)[:, : side**3].astype(bool).reshape(-1, side, side, side)


def faces(grid: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unit squares between full and empty cells: lowest corners [F, 3] and the axis each is at right angles to [F]."""
    full = np.pad(grid, 1).astype(np.int8)
    corners, axes = [], []
    for axis in range(3):
        at = np.argwhere(np.diff(full, axis=axis))
        at[:, axis] += 1  # the face lies behind the first of the two cells
        corners.append(at - 1)
        axes.append(np.full(len(at), axis))
    return np.concatenate(corners), np.concatenate(axes)


def draw(grid: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.float32]:
    """`count` points [count, 3] over the faces of a grid, in cells; the same for the same seed.

    Raises:
        ValueError: an empty grid.
    """
    corners, axes = faces(grid)
    if len(corners) == 0:
        raise ValueError("an empty voxel grid has no surface: leave it out")
    random = np.random.default_rng(seed)
    which = random.integers(len(corners), size=count)
    spread = random.random((count, 3))
    spread[np.arange(count), axes[which]] = 0
    found: NDArray[np.float32] = (corners[which] + spread).astype(np.float32)
    return found
