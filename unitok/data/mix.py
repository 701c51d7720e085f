"""Mixture: which source the i-th document of a run comes from, and how many each has given before it.

Draw i takes the source in whose interval of [0, 1) the point frac(u + i * golden ratio) lies: even at every
scale (a Weyl sequence), without state. In 64-bit integer arithmetic the number of earlier draws of a source has
a closed form (a sum of floors, evaluated in O(log) steps like Euclid's algorithm), so a run can be entered
anywhere. Weights are shares of *tokens*: a source's share of draws is its weight over its mean length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unitok.data.arrays import Array
from unitok.data.shuffle import keyed

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio
MODULUS = 1 << 64


def floor_sum(n: int, m: int, a: int, b: int) -> int:
    """sum(floor((a * i + b) / m) for i in range(n)), exactly, in O(log m) steps; all arguments >= 0."""
    total = 0
    while n > 0:
        total += n * (n - 1) // 2 * (a // m) + n * (b // m)
        a, b = a % m, b % m
        top = a * n + b
        n, b = divmod(top, m)
        m, a = a, m
    return total


class Mixture:
    """Draws of sources with given token shares.

    Args:
        weights: positive shares of tokens, in any unit.
        lengths: mean document length of each source.
        seed: moves the starting point of the sequence.
    """

    def __init__(self, weights: Sequence[float], lengths: Sequence[float], seed: int) -> None:
        for weight in weights:
            if not weight > 0:
                raise ValueError(f"a source has weight {weight}: a weight is a positive share of tokens")
        share = np.asarray(weights, np.float64) / np.asarray(lengths, np.float64)
        edges = np.cumsum(share / share.sum())[:-1]
        self._start = int(keyed(seed, 0x6D6978)[0])
        self._edges = [0, *(int(edge * 2.0**64) for edge in edges), MODULUS]

    def draws(self, start: int, stop: int) -> Array:
        """The source of every draw in [start, stop): int64 [stop - start]."""
        first = np.uint64((self._start + start * GOLDEN) % MODULUS)
        points = first + np.arange(stop - start, dtype=np.uint64) * np.uint64(GOLDEN)
        inner = np.array(self._edges[1:-1], np.uint64)
        return np.searchsorted(inner, points, side="right")

    def counts(self, draw: int) -> list[int]:
        """How many of the first `draw` draws each source gave."""
        below = [self._below(edge, draw) for edge in self._edges]
        return [high - low for low, high in zip(below[:-1], below[1:], strict=True)]

    def _below(self, edge: int, draw: int) -> int:
        """#{i < draw : (start + i * GOLDEN) mod 2**64 < edge}."""
        above = floor_sum(draw, MODULUS, GOLDEN, self._start + MODULUS - edge)
        return floor_sum(draw, MODULUS, GOLDEN, self._start) + draw - above
