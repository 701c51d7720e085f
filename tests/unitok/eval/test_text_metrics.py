from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitok.eval.text import bleu, exact_match, scores, token_f1, words


def test_words_split_punctuation_and_ignore_case():
    assert words("A red Apple, cut.") == ["a", "red", "apple", ",", "cut", "."]


def test_exact_match_ignores_case_and_spacing():
    assert exact_match("Red  apple", "red apple") == 1.0
    assert exact_match("red apples", "red apple") == 0.0


def test_f1_counts_repeats_once_each():
    assert token_f1("the the cat", "the cat") == pytest.approx(0.8)
    assert token_f1("dog", "cat") == 0.0
    assert token_f1("", "") == 1.0


def test_bleu_of_a_hand_worked_pair():
    # unigrams 5/6, bigrams (3+1)/(5+1), trigrams (1+1)/(4+1), 4-grams (0+1)/(3+1); no brevity penalty
    found = bleu(["the cat sat on a mat"], ["the cat sat on the mat"])
    assert found == pytest.approx((5 / 6 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25, abs=0.1)


def test_bleu_punishes_short_output_and_counts_over_the_corpus():
    reference = ["the cat sat on the mat"]
    assert bleu(["the cat"], reference) < bleu(["the cat sat on the"], reference)
    assert bleu(["dog"], ["cat"]) == 0.0
    with pytest.raises(ValueError, match="2 predictions, 1 references"):
        bleu(["a", "b"], ["a"])


@given(st.text(alphabet="ab ,", max_size=20), st.text(alphabet="ab ,", max_size=20))
def test_measures_lie_between_zero_and_one_and_a_text_matches_itself(a, b):
    for value in (*scores(a, b).values(), bleu([a], [b])):
        assert 0.0 <= value <= 1.0 + 1e-9
    assert set(scores(a, a).values()) == {1.0}
    assert token_f1(a, b) == token_f1(b, a)
