from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitok.budget import longest, shares, split

LENGTHS = [tuple(range(1, 33)), (1, 2, 4, 8, 16, 24, 32), (8,), (3, 5, 9)]
KINDS = ("uniform", "pow2", "uniform_pow2", "log")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_shares_are_a_distribution_over_the_lengths(kind, lengths):
    found = shares(kind, lengths, full=0.25)
    assert len(found) == len(lengths)
    assert min(found) >= 0
    assert sum(found) == pytest.approx(1)
    assert found[-1] >= 0.25


def test_each_kind_draws_as_it_says():
    lengths = range(1, 9)
    assert shares("uniform", lengths) == pytest.approx([1 / 8] * 8)
    assert shares("pow2", lengths) == pytest.approx([1 / 4, 1 / 4, 0, 1 / 4, 0, 0, 0, 1 / 4])
    assert shares("uniform_pow2", lengths) == pytest.approx([1 / 8, 1 / 8, 0, 2 / 8, 0, 0, 0, 4 / 8])
    log = shares("log", lengths)
    assert sorted(log, reverse=True) == pytest.approx(log)
    assert shares("pow2", (1, 2, 6), full=1.0) == [0, 0, 1]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="uniform, pow2"):
        shares("powers", (1, 2))
    with pytest.raises(ValueError, match="need a length"):
        shares("uniform", ())
    with pytest.raises(ValueError, match="0 to 1"):
        shares("uniform", (1,), full=1.5)


def test_the_longest_within_a_budget():
    assert longest((1, 2, 4, 8), 7) == 4
    assert longest((1, 2, 4, 8), 8) == 8
    with pytest.raises(ValueError, match="the shortest has 3"):
        longest((3, 4), 2)


@given(st.integers(1, 40), st.integers(1, 4000), st.sampled_from(LENGTHS))
def test_items_share_a_budget_evenly(count, total, lengths):
    if total < count * (lengths[0] + 2):
        with pytest.raises(ValueError, match="give fewer items"):
            split(total, lengths, count)
        return
    found = split(total, lengths, count)
    assert len(found) == count
    assert set(found) <= set(lengths)
    spent = sum(found) + 2 * count
    assert spent <= total
    places = [lengths.index(each) for each in found]
    assert max(places) - min(places) <= 1
    if min(places) < len(lengths) - 1:  # nothing more would have fitted
        nearest = min(place for place in places)
        assert spent + lengths[nearest + 1] - lengths[nearest] > total


def test_twelve_pictures_in_512_positions():
    found = split(512, range(1, 257), 12)
    assert sum(found) + 24 == 512
    assert set(found) == {40, 41}
