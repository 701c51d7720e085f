from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitok.data.mix import Mixture, floor_sum

MIXTURES = st.builds(
    lambda pairs, seed: Mixture([w for w, _ in pairs], [length for _, length in pairs], seed),
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(1, 1000)), min_size=1, max_size=6),
    st.integers(0, 2**32),
)


@given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 200), st.integers(0, 200))
def test_the_closed_form_of_a_sum_of_floors(n, m, a, b):
    assert floor_sum(n, m, a, b) == sum((a * i + b) // m for i in range(n))


@given(MIXTURES, st.integers(0, 400), st.integers(0, 400))
def test_a_later_start_continues_the_same_sequence(mixture, start, more):
    whole = mixture.draws(0, start + more)
    assert mixture.draws(start, start + more).tolist() == whole[start:].tolist()


@given(MIXTURES, st.integers(0, 3000))
def test_counts_are_those_of_the_draws(mixture, draw):
    sources = len(mixture.counts(0))
    assert mixture.counts(draw) == np.bincount(mixture.draws(0, draw), minlength=sources).tolist()


def test_far_out_the_counts_still_add_up():
    mixture = Mixture([3, 2, 1], [10, 100, 7], seed=5)
    far = 10**13
    before, after = mixture.counts(far), mixture.counts(far + 4096)
    drawn = np.bincount(mixture.draws(far, far + 4096), minlength=3)
    assert (np.array(after) - before).tolist() == drawn.tolist()
    assert sum(before) == far


def test_weights_are_shares_of_tokens_not_of_documents():
    lengths = np.array([500, 50, 20])
    mixture = Mixture([0.5, 0.25, 0.25], lengths.tolist(), seed=1)
    tokens = np.bincount(mixture.draws(0, 5000), minlength=3) * lengths
    assert tokens / tokens.sum() == pytest.approx([0.5, 0.25, 0.25], abs=0.005)


def test_short_stretches_are_even_too():
    mixture = Mixture([1, 1, 2], [1, 1, 1], seed=3)
    for start in range(0, 2000, 97):
        counts = np.bincount(mixture.draws(start, start + 100), minlength=3)
        assert np.abs(counts - [25, 25, 50]).max() <= 4


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_must_be_positive(weight):
    with pytest.raises(ValueError, match="positive share"):
        Mixture([1.0, weight], [5, 5], seed=0)
