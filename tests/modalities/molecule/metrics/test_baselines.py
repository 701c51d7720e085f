"""Copying from the training set, and the floors: by hand."""

from __future__ import annotations

import pytest

from modalities.molecule.metrics.baselines import drawn, nearest, nearest_text, unigram, unshared

NONE = "the training set is empty"


def test_the_nearest_molecule_is_the_most_similar_one():
    assert nearest(["CCO", "c1ccccc1", "CC(=O)O"], ["CCCO", "Cc1ccccc1", "CCC(=O)O"]) == [0, 1, 2]


def test_the_first_of_equals_is_taken_and_no_molecule_is_like_none():
    assert nearest(["x", "CCO", "OCC"], ["CCO"]) == [1]
    assert nearest(["x", "CCO"], ["("]) in ([0], [1])


def test_the_nearest_text_shares_the_rare_words():
    train = ["The molecule is an acid.", "The molecule is a steroid acid.", "The molecule is a ketone."]
    assert nearest_text(train, ["a STEROID", "the molecule is a ketone", "an acid is the molecule"]) == [
        1,
        2,
        0,
    ]
    assert nearest_text(train, ["nothing in common"]) == [0]


def test_cosine_does_not_favour_long_texts():
    assert nearest_text(["acid " + "filler words of all kinds " * 9, "acid"], ["acid"]) == [1]


def test_the_floor_is_the_commonest_words_to_the_mean_length():
    assert unigram(["b a a", "a c b", "a"]) == "a b"  # 7 words in 3 texts


def test_drawn_items_are_the_same_each_time():
    assert drawn(["C", "N", "O"], 5) == drawn(["C", "N", "O"], 5)
    assert len(set(drawn(["C", "N", "O"], 50))) == 3


def test_stereoisomers_and_salts_of_test_molecules_are_told_apart():
    train = ["C[C@@H](N)C(=O)O", "CCO", "[Na+].CCO", "(", "OCC"]
    assert unshared(train, ["C[C@H](N)C(=O)O", "CCO", "("]) == [2, 3]


@pytest.mark.parametrize("call", [nearest, nearest_text])
def test_an_empty_training_set_is_refused(call):
    with pytest.raises(ValueError, match=NONE):
        call([], ["C"])
    with pytest.raises(ValueError, match=NONE):
        unigram([])
    with pytest.raises(ValueError, match=NONE):
        drawn([], 1)
