"""Where the neighbours of an atom lie around it, as small numbers that turning the molecule does not change.

Axen, Huang, Cáceres, Gendelev, Roth and Keiser, J. Med. Chem. 2017 (E3FP), "stereochemical information". Around each centre an axis
y points to a neighbour that is like no other (or to the mean of all), an axis z to one close to y's equator.
A neighbour gets +1 / -1 near the poles, 2 to 5 by its quadrant about y above the equator and -2 to -5 below,
0 where there are no axes or it lies on the centre itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TINY = 1e-12
MEAN = 0.1
"""Angstrom: a mean of neighbours nearer to the centre points nowhere."""
BAND = 0.01
"""Radians: neighbours whose height over the equator differs by less are alike."""
CAP = np.pi / 36
"""Radians: the cap around a pole."""


def first(flags: NDArray[np.bool_], starts: Ints) -> Ints:
    """The first True of each segment, or -1; segments begin at `starts` and none is empty."""
    where = np.where(flags, np.arange(len(flags)), len(flags))
    found = np.minimum.reduceat(where, starts)
    return np.where(found == len(flags), -1, found)


def alone(*columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of sorted columns differ from the row before and from the row after."""
    size = len(columns[0])
    change = np.ones(size + 1, bool)
    change[1:-1] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return change[1:] & change[:-1]


def unit(v: Floats) -> Floats:
    """Vectors [n, 3] at length 1; those shorter than 1e-6 are left as they are."""
    square = _dot(v, v)
    square[square < TINY] = 1.0
    out: Floats = v / np.sqrt(square)[:, None]
    return out


def _dot(a: Floats, b: Floats) -> Floats:
    out: Floats = np.einsum("ij,ij->i", a, b)
    return out


def _angles(a: Floats, b: Floats) -> Floats:
    """Between unit vectors, row by row; 0 where a is the zero vector."""
    angles = np.arccos(np.clip(_dot(a, b), -1.0, 1.0))
    angles[~a.any(axis=1)] = 0.0
    return angles


def indicators(centre: Ints, starts: Ints, kind: Ints, ids: Ints, v: Floats) -> Ints:
    """One indicator for each neighbour.

    Args:
        centre: int64 [p], the number of the neighbour's segment, ascending from 0.
        starts: int64 [s], where each segment begins.
        kind, ids: int64 [p], connection and identifier; each segment is sorted by them.
        v: float64 [p, 3], from the centre to the neighbour, Angstrom.
    """
    counts = np.diff(starts, append=len(v))
    chosen = first(alone(centre, kind, ids), starts)
    chosen = np.where((chosen < 0) & (counts == 2), starts, chosen)
    mean = np.stack([np.add.reduceat(v[:, axis], starts) for axis in range(3)], 1) / counts[:, None]
    y = np.where((chosen >= 0)[:, None], v[chosen], mean)
    has_y = (chosen >= 0) | (np.sqrt(_dot(mean, mean)) >= MEAN)

    pole = unit(y)[centre]
    height = np.pi / 2.0 - _angles(unit(v), pole)
    height[np.abs(height) < TINY] = 0.0
    sign = np.where(height < 0, -1, 1)
    height = np.abs(height)
    on_centre = ~v.any(axis=1)

    out = np.zeros(len(v), np.int64)
    z = _pick_z(centre, chosen, kind, ids, height, has_y[centre] & ~on_centre)
    rows = np.flatnonzero((z >= 0)[centre])
    if len(rows):
        flat = v - _dot(v, pole)[:, None] * pole
        ahead = unit(flat[z])[centre[rows]]
        side = unit(flat[rows])
        around = _angles(side, ahead)
        turn = _dot(y[centre[rows]], np.cross(side, ahead))
        around = (np.where(turn < 0, -around, around) + 2 * np.pi) % (2 * np.pi)
        around[rows == chosen[centre[rows]]] = 0.0
        around = (around + np.pi / 4) % (2 * np.pi)
        out[rows] = (2 + (around * 4 / (2 * np.pi)).astype(np.int64)) * sign[rows]
    capped = (np.pi / 2 - height < CAP) & has_y[centre]
    out[capped] = sign[capped]
    out[on_centre] = 0
    return out


def _pick_z(centre: Ints, y: Ints, kind: Ints, ids: Ints, height: Floats, fit: NDArray[np.bool_]) -> Ints:
    """For each segment the neighbour whose direction is z, or -1: the lowest that no other is like."""
    rows = np.flatnonzero(fit & (np.arange(len(centre)) != y[centre]))
    found = np.full(len(y), -1, np.int64)
    if len(rows):
        band = (height[rows] / BAND).astype(np.int64)
        order = np.lexsort((ids[rows], kind[rows], band, centre[rows]))
        rows, band = rows[order], band[order]
        segment = centre[rows]
        lone = np.flatnonzero(alone(segment, band, kind[rows]))
        # Assigned backwards, the first of each segment stays.
        found[segment[lone[::-1]]] = rows[lone[::-1]]
    return found
