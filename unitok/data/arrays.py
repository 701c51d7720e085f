"""Two array helpers that packing, stores and rows share."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def starts(counts: Array) -> Array:
    """Exclusive running sum: where each piece begins when pieces of these sizes lie end to end. int64 [n]."""
    out = np.zeros(len(counts), np.int64)
    np.cumsum(counts[:-1], out=out[1:])
    return out


def ranges(first: Array, counts: Array) -> Array:
    """`concatenate([arange(f, f + c) for f, c in zip(first, counts)])`, int64, without the loop."""
    counts = counts.astype(np.int64)
    shift = first.astype(np.int64) - starts(counts)
    return np.arange(int(counts.sum())) + np.repeat(shift, counts)
