"""Numbers in answers: what counts as one, what is asked, and the figures."""

from __future__ import annotations

import pytest

from unitok.eval.numbers import compared, number, scored


@pytest.mark.parametrize(
    ("text", "value"),
    [("-0.25", -0.25), (" 3 ", 3.0), ("46.07.", 46.07), ("1.2.3", None), ("", None), ("about 3", None)],
)
def test_a_number_is_the_whole_answer(text, value):
    assert number(text) == value


def test_answers_that_are_no_numbers_are_counted_and_left_out_of_the_error():
    figures = scored(["1.0", "2.0", "3.0"], ["1.5", "two", "2.0"], ["1.0", "2.0", "9.0"])
    assert figures == {"n": 3, "mae": 0.75, "numbers": 2 / 3, "median_mae": pytest.approx(2 / 3)}


def test_words_are_right_or_wrong():
    assert scored(list("RSSR"), ["R", "R", "S", ""], list("RRS")) == {"n": 4, "right": 0.5, "commonest": 0.5}


def test_items_are_compared_by_their_modality(world):
    pairs = [([1, 1, 1, 1], [[1, 1, 1, 3]]), ([2, 2, 2, 2], [[2, 2, 2, 2], [0, 0, 0, 1]]), ([1, 2, 3, 4], [])]
    assert compared(world[1]["image"], pairs) == {"n": 3, "answered": 2 / 3, "distance": 0.25}
