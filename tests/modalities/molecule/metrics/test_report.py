"""Reports and pages of both directions: baselines beside the model, shared molecules left out, rows drawn."""

from __future__ import annotations

import pytest
from rdkit import Chem

from modalities.molecule.conformers import embed
from modalities.molecule.metrics.ensembles import Ensembles
from modalities.molecule.metrics.page import caption_page, molecule_page
from modalities.molecule.metrics.predictions import Pairs, Predictions
from modalities.molecule.metrics.report import captioning_report, generation_report
from modalities.molecule.metrics.space import SpaceScorer
from modalities.molecule.told import to_cxsmiles

for package in ("nltk", "rouge_score", "tokenizers", "rapidfuzz"):
    pytest.importorskip(package, reason=f"{package} is not installed")

SMILES = ["CCO", "CC(=O)O", "c1ccccc1"]
TEXTS = [
    "The molecule is ethanol, an alcohol.",
    "The molecule is an acid.",
    "The molecule is <b>benzene</b>.",
]
TRAIN = Pairs(
    ["OCC", "CCCO", "Cc1ccccc1"],
    ["It is ethanol, an alcohol.", "It is propanol.", "It is toluene."],
    ["line 9: bad"],
)


def captions(outputs, bad=()):
    return Predictions(SMILES, TEXTS, outputs, list(bad))


def molecules(outputs):
    return Predictions(TEXTS, SMILES, outputs)


def test_captions_stand_beside_copies_and_the_floor(synonyms):
    found = captioning_report(captions(TEXTS, ["line 7: 1 columns"]), TRAIN)
    assert (found["bleu4"], found["n"]) == (pytest.approx(1), 3)
    assert (found["bad_rows"], found["bad"]) == (1, ["line 7: 1 columns"])
    assert found["train"] == {"n": 3, "shared": 1, "bad_rows": 1}
    # with ethanol itself in reach its description is copied; without it that of propanol
    assert found["nearest_with_shared"]["rouge1"] > found["nearest"]["rouge1"] > 0
    assert found["floor"]["n"] == 3
    assert found["packages"]["nltk"]


def test_molecules_stand_beside_copies_and_the_floor():
    found = generation_report(molecules(SMILES), TRAIN, fcd=False)
    assert (found["exact"], found["novelty"]) == (1, pytest.approx(2 / 3))
    assert found["nearest_with_shared"]["exact"] == pytest.approx(1 / 3)
    assert found["nearest"]["exact"] == 0
    assert found["floor"]["validity"] == 1


def test_a_training_set_of_test_molecules_alone_leaves_nothing_to_copy(offline):
    shared = Pairs(SMILES, TEXTS)
    found = captioning_report(captions(TEXTS), shared)
    assert found["nearest"] is None
    assert found["nearest_with_shared"]["bleu2"] == pytest.approx(1)
    assert found["train"]["shared"] == 3


def test_without_a_shared_molecule_both_copies_are_one(offline):
    found = captioning_report(captions(TEXTS), Pairs(["CCCC"], ["It is butane."]))
    assert found["nearest"] == found["nearest_with_shared"]


def test_pages_draw_molecules_escape_words_and_name_what_is_none(offline):
    rows = captions(["a", "b", "c"])
    page = caption_page(rows, captioning_report(rows, TRAIN), most=2)
    assert page.count("data:image/png") == 2
    assert "nearest training item" in page
    rows = molecules(["CCO", "", "C1CC"])
    page = molecule_page(rows, generation_report(rows, fcd=False))
    assert page.count("data:image/png") == 4
    assert page.count("not a molecule") == 2
    assert "<td>1.00</td>" in page
    assert "&lt;b&gt;benzene" in page


def in_space(smiles):
    return to_cxsmiles(embed(Chem.MolFromSmiles(smiles)))


def test_coordinates_change_no_other_score_and_have_their_own():
    plain = generation_report(molecules(["CCO", "CC=O", "C1CC"]), TRAIN, fcd=False)
    rows = Predictions(TEXTS, [in_space("CCO"), *SMILES[1:]], [in_space("CCO"), in_space("CC=O"), "C1CC"])
    found = generation_report(rows, TRAIN, fcd=False, space=SpaceScorer(Ensembles(2)))
    space = found.pop("space")
    assert found == plain
    assert (space["n"], space["written"], space["conformers"]) == (2, 1, 2)
    assert space["lengths"] == space["reference"]["lengths"] == 1
    assert "space" not in plain


def test_pages_show_what_was_written_beside_the_right_coordinates_or_a_conformer():
    rows = Predictions(TEXTS, [in_space("CCO"), *SMILES[1:]], [in_space("OCC"), in_space("CC=O"), "c1ccccc1"])
    ensembles = Ensembles(2)
    report = generation_report(rows, fcd=False, space=SpaceScorer(ensembles))
    page = molecule_page(rows, report, ensembles=ensembles)
    assert page.count("data:image/png") == 9  # six drawings, one target and two outputs in space
    assert page.count("<figcaption>written | right, 0.00 Å apart") == 1
    assert page.count("<figcaption>written | nearest of 2 conformers") == 1
    assert "Coordinates of the molecules that were written" in page
    assert "|(" not in page  # no coordinates as text
