"""Agreement of answers: symmetric, 1 with oneself, and led by the trusted ones."""

import pytest

from unitok.eval.agreement import agreement


def test_the_one_that_is_most_like_all_others_wins():
    first, second, third = agreement(["a red car", "the red car", "a boat"], [1, 1, 1])
    assert min(first, second) > third


def test_texts_agree_with_themselves_alone_when_nothing_is_shared():
    assert agreement(["a b", "c d e f g"], [1, 3]) == pytest.approx([0.25, 0.75])
    assert agreement(["a b c", "a b c"], [1, 5]) == pytest.approx([1, 1])


def test_order_counts_and_shares_are_exact():
    # words 2 of 2, pairs 0 of 1, none longer: the mean over two orders is 1/2
    assert agreement(["a b", "b a"], [0, 1]) == pytest.approx([0.5, 1])


def test_trust_decides():
    assert agreement(["x y z", "p q r"], [1, 9])[0] < agreement(["x y z", "p q r"], [9, 1])[0]


def test_empty_texts_agree_with_nothing():
    assert agreement(["", "a"], [1, 1]) == pytest.approx([0, 0.5])


@pytest.mark.parametrize("weights", [[1], [0, 0], [1, -1]])
def test_weights_that_cannot_be_used_are_named(weights):
    with pytest.raises(ValueError, match="give one for each, at least 0, not all 0"):
        agreement(["a", "b"], weights)
