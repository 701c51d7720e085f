"""MurmurHash3 of many integer sequences at once.

    hash_sequences(values int64 [n], starts int64 [s]) -> int64 [s], each in -2**31 .. 2**31 - 1

Sequence k is values[starts[k] : starts[k + 1]], its bytes those of little-endian int64. The function is
MurmurHash3_x86_32 with seed 0 (Austin Appleby's smhasher, public domain); the result is read as signed.
Blocks of all sequences are mixed in one go; only the chain over positions is a loop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def _rotate(x: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))


def hash_sequences(values: Ints, starts: Ints) -> Ints:
    """One hash for each sequence; an empty sequence has the hash 0.

    Args:
        values: the numbers of all sequences, one sequence after the other.
        starts: where each begins, ascending, the first at 0.
    """
    if not len(starts):
        return np.zeros(0, np.int64)
    lengths = 2 * np.diff(starts, append=len(values))  # in blocks of 4 bytes
    blocks = np.ascontiguousarray(values, dtype="<i8").view("<u4").astype(np.uint32)
    blocks = _rotate(blocks * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    order = np.argsort(-lengths, kind="stable")  # longest first, so that those still running are a prefix
    at, sizes = 2 * starts[order], lengths[order]
    state = np.zeros(len(starts), np.uint32)
    running = len(starts) - np.searchsorted(sizes[::-1], np.arange(sizes[0]), side="right")
    for position, count in enumerate(running.tolist()):
        part = state[:count]
        part ^= blocks[at[:count] + position]
        part[:] = _rotate(part, 13)
        part *= np.uint32(5)
        part += np.uint32(0xE6546B64)
    state ^= (4 * sizes).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state ^= state >> np.uint32(shift)
        state *= np.uint32(factor)
    state ^= state >> np.uint32(16)
    out = np.empty(len(starts), np.int64)
    out[order] = state.view(np.int32)
    return out
