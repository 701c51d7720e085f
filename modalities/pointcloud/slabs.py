"""Farthest point sampling of one cloud on a processor, a slab at a time: the choices of `sample.farthest`, sooner.

A new point can only lower gaps (squared distances to what is chosen) of points nearer to it than the largest gap, which
is its own and falls as sampling goes on. Points are sorted along the cloud's longest axis, so that those lie in one
slab, and the rest is not looked at.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

MARGIN = 1 + 1e-5
"""Slabs are this much wider than exact arithmetic asks for."""


def farthest_of_one(points: NDArray[np.float32], count: int, first: int) -> NDArray[np.int64]:
    """Indices [count] into points [N, 3], beginning with `first`; ties go to the lower index."""
    axis = int(np.ptp(points, axis=0).argmax())
    order = np.argsort(points[:, axis])
    rows = np.ascontiguousarray(points[order].T)  # [3, N]
    along = rows[axis].tolist()
    gap = np.full(len(points), np.inf, dtype=np.float32)
    offsets = np.empty_like(rows)
    at = int(np.flatnonzero(order == first)[0])
    chosen = [at]
    reach = math.inf
    for _ in range(count - 1):
        place = along[at]
        low, high = bisect_left(along, place - reach, 0, at), bisect_right(along, place + reach, at)
        some, mine = offsets[:, low:high], gap[low:high]
        x, y, z = some
        np.subtract(rows[:, low:high], rows[:, at : at + 1], some)
        np.multiply(some, some, some)
        np.add(x, y, x)
        np.add(x, z, x)
        np.minimum(mine, x, out=mine)
        at = int(gap.argmax())
        most, later = gap[at], gap[at + 1 :]
        if len(later) and later[later.argmax()] == most:
            same = np.flatnonzero(gap == most)
            at = int(same[order[same].argmin()])
        chosen.append(at)
        reach = math.sqrt(most) * MARGIN
    found: NDArray[np.int64] = order[chosen]
    return found
