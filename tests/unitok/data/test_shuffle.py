from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitok.data.arrays import ranges, starts
from unitok.data.shuffle import keyed, permute


@given(n=st.integers(1, 5000), key=st.integers(0, 2**64 - 1))
def test_it_is_a_bijection(n, key):
    assert sorted(permute(np.arange(n), n, key).tolist()) == list(range(n))


@given(
    n=st.integers(1, 10**12), key=st.integers(0, 2**63), picked=st.lists(st.floats(0, 0.999999), max_size=20)
)
def test_each_element_is_mapped_on_its_own(n, key, picked):
    index = np.array([int(p * n) for p in picked], np.int64)
    together = permute(index, n, key)
    alone = [int(permute(index[i : i + 1], n, key)[0]) for i in range(len(index))]
    assert together.tolist() == alone
    assert all(0 <= image < n for image in alone)


def test_keys_may_differ_from_element_to_element():
    keys = np.repeat(np.array([3, 9], np.uint64), 50)
    index = np.tile(np.arange(50), 2)
    both = permute(index, 50, keys)
    assert both[:50].tolist() == permute(np.arange(50), 50, 3).tolist()
    assert both[50:].tolist() == permute(np.arange(50), 50, 9).tolist()


def test_another_key_is_another_order_and_neither_is_sorted():
    a, b = permute(np.arange(1000), 1000, 1), permute(np.arange(1000), 1000, 2)
    assert (a == b).mean() < 0.02
    assert abs(np.corrcoef(a, np.arange(1000))[0, 1]) < 0.15
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.15


def test_every_place_sees_every_element_about_equally_often():
    keys = np.repeat(np.arange(7000, dtype=np.uint64), 7)
    images = permute(np.tile(np.arange(7), 7000), 7, keys).reshape(7000, 7)
    for place in range(7):
        counts = np.bincount(images[:, place], minlength=7)
        assert (np.abs(counts - 1000) < 5 * np.sqrt(1000)).all()


def test_an_index_outside_the_domain_is_refused():
    with pytest.raises(ValueError, match="outside range"):
        permute(np.array([7]), 7, 0)


def test_keyed_depends_on_every_part_and_on_their_order():
    hashes = {int(keyed(*parts)[0]) for parts in ((1, 2, 3), (1, 3, 2), (1, 2), (1, 2, 4), (0, 2, 3))}
    assert len(hashes) == 5
    chance = keyed(5, np.arange(20000, dtype=np.uint64)).astype(np.float64) / 2**64
    assert abs(chance.mean() - 0.5) < 0.02


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9)), max_size=30))
def test_ranges_are_the_concatenated_ranges(pairs):
    first, counts = np.array([p[0] for p in pairs], int), np.array([p[1] for p in pairs], int)
    assert ranges(first, counts).tolist() == [i for f, c in pairs for i in range(f, f + c)]
    assert starts(counts).tolist() == [sum(counts[:i]) for i in range(len(counts))]
