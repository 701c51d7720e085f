from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitok.data.pack import best_fit


@given(size=st.integers(4, 300), shares=st.lists(st.floats(0.001, 1), max_size=200))
def test_no_row_overflows_and_no_row_is_empty(size, shares):
    lengths = np.array([max(1, int(share * size)) for share in shares], np.int64)
    row_of, rows = best_fit(lengths, size)
    used = np.bincount(row_of, weights=lengths, minlength=rows)
    assert len(used) == rows
    assert (used <= size).all()
    assert (used > 0).all()


@given(size=st.integers(4, 300), shares=st.lists(st.floats(0.001, 1), min_size=2, max_size=200))
def test_two_rows_could_never_have_been_one(size, shares):
    lengths = np.array([max(1, int(share * size)) for share in shares], np.int64)
    row_of, rows = best_fit(lengths, size)
    used = np.sort(np.bincount(row_of, weights=lengths, minlength=rows))
    if rows > 1:
        assert used[0] + used[1] > size


def test_a_document_goes_where_it_fits_best():
    # 60 and 70 open a row each; 30 fits into both and belongs to the fuller one, which it completes.
    row_of, rows = best_fit(np.array([60, 70, 30]), 100)
    assert rows == 2
    assert row_of[2] == row_of[1]


def test_long_documents_are_placed_first_and_short_ones_in_the_order_drawn():
    row_of, _ = best_fit(np.array([10, 20, 90, 30, 95]), 100)
    assert row_of.tolist() == [1, 2, 1, 2, 0]


@pytest.mark.parametrize("wrong", [0, 101])
def test_a_length_outside_the_row_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{wrong} tokens"):
        best_fit(np.array([5, wrong]), 100)


def test_real_lengths_fill_98_percent():
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(4, 0.7, 4096), 5, 512).astype(int)
    for size in (512, 1024):
        _, rows = best_fit(lengths, size)
        assert lengths.sum() / (rows * size) > 0.98
