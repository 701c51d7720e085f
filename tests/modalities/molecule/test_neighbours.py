"""Similar molecules and descriptions: the nearest other one, and never the same molecule."""

from __future__ import annotations

import pytest

from modalities.molecule.neighbours import MoleculeIndex, TextIndex, examples, nearness
from modalities.molecule.structure import skeleton
from modalities.molecule.tasks.text import asked_molecule, asked_text, caption_like, molecule_like

SMILES = ["CCO", "CCCO", "c1ccccc1", "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "no molecule"]
TEXTS = [
    "a primary alcohol",
    "a propanol, an alcohol",
    "an arene",
    "an alanine",
    "the other alanine",
    "nothing",
]


def test_the_nearest_is_another_molecule():
    like = MoleculeIndex(SMILES)
    assert SMILES[like("CCCCO")] == "CCCO"
    assert SMILES[like("CCO")] == "CCCO"
    assert SMILES[like("Cc1ccccc1")] == "c1ccccc1"
    assert like("C[C@H](N)C(=O)O") not in (3, 4)  # its mirror image has the same skeleton
    assert like("[Xe]") is None


def test_the_nearest_text_is_of_another_molecule():
    like = TextIndex(TEXTS, SMILES)
    assert TEXTS[like("some alanine")] == "an alanine"
    assert like("an alanine", but="C[C@H](N)C(=O)O") not in (3, 4)
    assert like("zebra") is None
    assert TextIndex([], [])("a") is None


def test_skeletons_forget_handedness_and_what_is_no_molecule_has_none():
    assert skeleton(SMILES[3]) == skeleton(SMILES[4]) != skeleton("CCO")
    assert skeleton("no molecule") is skeleton("") is None


def test_examples_come_by_molecule_or_by_text():
    train = (SMILES, TEXTS)
    assert examples(["CCO"], ["an arene"], train, by="molecule") == [("CCCO", TEXTS[1])]
    assert examples(["CCO"], ["an arene"], train, by="text") == [("c1ccccc1", "an arene")]


def test_a_question_ends_with_what_is_asked():
    assert asked_text("C") == ["C", " Describe this molecule."]
    assert asked_text("C", ("CC", "It is ethane.")) == [
        "CC",
        " It is ethane. ",
        "C",
        " Describe this molecule.",
    ]
    assert asked_molecule("It is methane.", ("CC", "It is ethane."))[-1] == "It is methane."
    for make, answer in ((caption_like, {"text": "It is methane."}), (molecule_like, {"molecule": "C"})):
        record = make("k", "train", "C", "It is methane.", ("CC", "It is ethane."))
        assert {"molecule": "CC"} in record["turns"][0]["content"]
        assert record["turns"][1]["content"] == [answer]


def test_the_next_examples_follow_and_the_last_stays():
    train = (["CCCO", "CCCCCCO", "N"], ["an alcohol", "a long alcohol", "a base"])
    first, second, third = (examples(["CCO"], ["an alcohol"], train, "molecule", n) for n in (1, 2, 9))
    assert first == [("CCCO", "an alcohol")]
    assert second == third == [("CCCCCCO", "a long alcohol")]  # nothing else is alike
    with pytest.raises(ValueError, match="1 is the most similar"):
        examples(["CCO"], ["an alcohol"], train, "molecule", 0)


def test_nearness_is_a_weighted_mean_of_similarities():
    same, other, none = nearness(["CCO", "CCN", "no molecule"], ["OCC", "CCN"], [3, 1])
    assert same == pytest.approx(0.75 + 0.25 * (other - 0.25) / 0.75)
    assert none == 0
    assert nearness([], ["C"], [1]) == []
    with pytest.raises(ValueError, match="give one for each"):
        nearness(["C"], ["C", "CC"], [0, 0])
