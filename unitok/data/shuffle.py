"""Keyed hashing and a keyed bijection of range(n): shuffles without state and without memory.

The bijection is a generalised Feistel network on Z_a x Z_b with a * b just above n; results that fall outside
range(n) walk on along their cycle (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
Everything is vectorised, and keys may differ from element to element.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from unitok.data.arrays import Array

ROUNDS = 6


def scramble(x: Array) -> Array:
    """A 64-bit mixing function (the finaliser of SplitMix64; Steele et al. 2014), uint64 of any shape."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = x ^ (x >> np.uint64(31))
    return mixed


def keyed(*parts: int | Array) -> Array:
    """A hash of integers and integer arrays (broadcast together): uint64 of the common shape."""
    state = np.zeros((1,) * max(np.ndim(part) for part in parts), np.uint64)
    for part in parts:
        if isinstance(part, int):
            part = np.full(1, part & 0xFFFFFFFFFFFFFFFF, np.uint64)
        state = scramble(state ^ part.astype(np.uint64))
    return state


def permute(index: Array, n: int, key: int | Array) -> Array:
    """The images of `index` (0 <= index < n) under the bijection of range(n) that `key` selects.

    Args:
        index: int64 [m].
        n: size of the domain.
        key: one key, or one per element, [m]: elements with equal keys share one bijection.

    Returns:
        int64 [m].
    """
    if len(index) and (index.min() < 0 or index.max() >= n):
        raise ValueError(
            f"index {int(index.max())} is outside range({n}): the bijection is defined there only"
        )
    a = isqrt(n - 1) + 1 if n > 1 else 1
    b = -(-n // a)
    keys = np.broadcast_to(np.asarray(keyed(key)), index.shape)
    out = index.astype(np.uint64)
    todo = np.arange(len(out))
    while len(todo):
        out[todo] = _feistel(out[todo], np.uint64(a), np.uint64(b), keys[todo])
        todo = todo[out[todo] >= n]
    return out.astype(np.int64)


def _feistel(x: Array, a: np.uint64, b: np.uint64, keys: Array) -> Array:
    """A bijection of range(a * b): the two digits of x are rotated in turn by a hash of the other."""
    left: Array = x // b  # in Z_a
    right: Array = x % b  # in Z_b
    for turn in range(ROUNDS):
        salted = keys + np.uint64(turn << 32)
        if turn % 2:
            right = (right + scramble(left ^ salted) % b) % b
        else:
            left = (left + scramble(right ^ salted) % a) % a
    return left * b + right
