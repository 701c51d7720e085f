"""Packing: documents into rows of T tokens, best fit, none cut.

Documents longer than T / 3 are placed first, in decreasing order; the others follow in the order drawn. (Fully
sorted best fit fills a little better, but makes rows of one modality.)
Free space is looked up in a bit mask of the capacities that occur, so a document costs O(T / 64).
"""

from __future__ import annotations

import numpy as np

from unitok.data.arrays import Array


def best_fit(lengths: Array, size: int) -> tuple[Array, int]:
    """Assign documents to rows.

    Args:
        lengths: int [n], 1 <= length <= size, in the order drawn.
        size: T, tokens per row.

    Returns:
        the row of every document, int64 [n], and the number of rows.

    Raises:
        ValueError: a document is empty or longer than a row.
    """
    if len(lengths) and (lengths.min() < 1 or lengths.max() > size):
        wrong = int(lengths.min() if lengths.min() < 1 else lengths.max())
        raise ValueError(
            f"a document has {wrong} tokens and a row {size}: tokenize with max_tokens <= seq_len"
        )
    long = np.flatnonzero(lengths * 3 > size)
    long = long[np.argsort(-lengths[long], kind="stable")]
    order = np.concatenate([long, np.flatnonzero(lengths * 3 <= size)])
    row_of = np.empty(len(lengths), np.int64)
    row_of[order], rows = _place(lengths[order].tolist(), size)
    return row_of, rows


def _place(lengths: list[int], size: int) -> tuple[list[int], int]:
    """Best fit in the given order: the fullest row with room takes each document."""
    free: list[list[int]] = [[] for _ in range(size + 1)]  # rows by free space
    mask = 0  # bit c is set while free[c] is not empty
    rows = 0
    out = []
    for length in lengths:
        fits = mask >> length
        if fits:
            space = length + (fits & -fits).bit_length() - 1
            row = free[space].pop()
            if not free[space]:
                mask ^= 1 << space
        else:
            space, row = size, rows
            rows += 1
        out.append(row)
        space -= length
        if space:
            free[space].append(row)
            mask |= 1 << space
    return out, rows
