"""Measures of written molecules: by hand on short SMILES, and MolT5-small's released ones to their known figures."""

from __future__ import annotations

import sys

import pytest

from modalities.molecule.metrics import frechet
from modalities.molecule.metrics.generation import GenerationScorer, strings
from modalities.molecule.metrics.predictions import DESCRIPTION, read_predictions

pytest.importorskip("nltk", reason="nltk is not installed")
pytest.importorskip("rapidfuzz", reason="rapidfuzz is not installed")

FILE = "molt5-small-caption2smiles.predictions.txt.zst"
GOLDEN = {
    "bleu": 0.7490,
    "exact": 0.0815,
    "maccs": 0.7801,
    "rdk": 0.6526,
    "morgan": 0.6012,
    "validity": 0.7245,
}
REFERENCES = ["OCCC", "C[C@H](N)C(=O)O", "c1ccccc1"]
OUTPUTS = ["CCCO", "C[C@@H](N)C(=O)O", "c1ccccc"]  # the same, its mirror image, an open ring


@pytest.fixture(scope="module")
def score():
    return GenerationScorer(fcd=False)


def test_three_rows_by_hand(score):
    found = score(REFERENCES, OUTPUTS)
    assert found["n"] == 3
    assert found["exact"] == pytest.approx(1 / 3)
    assert found["validity"] == pytest.approx(2 / 3)
    assert found["levenshtein"] == pytest.approx((2 + 1 + 1) / 3)
    # fingerprints do not see the hand: means over the two valid rows
    assert [found[key] for key in ("maccs", "rdk", "morgan")] == [1, 1, 1]
    assert found["uniqueness"] == 1
    assert "novelty" not in found
    assert "fcd" not in found


def test_without_stereo_the_same_rows_score_more(score):
    found = score(REFERENCES, OUTPUTS)["stereo_free"]
    assert found["n"] == 2
    assert (found["exact"], found["levenshtein"]) == (1, 0)
    assert found["bleu"] == pytest.approx(1)
    assert found["validity"] == pytest.approx(1 - 1 / 2)


def test_bleu_counts_characters_as_they_are_written():
    # CCO against OCC: 3 of 3 characters, 1 of 2 pairs (CC), no triple, so BLEU-4 is 0; equal strings give 1
    assert strings(["CCCCO"], ["CCCCO"])["bleu"] == pytest.approx(1)
    assert strings(["OCC"], ["CCO"])["bleu"] == pytest.approx(0, abs=1e-9)


def test_morgan_similarity_counts_environments(score):
    # ethane: two equal CH3 environments at each radius; propane shares the two ends of radius 0
    assert score.similarity("CC", "CC") == 1
    near = score.similarity("CCO", "CCCO")
    assert 0 < near < 1
    assert score.similarity("CCO", "x") is None


def test_uniqueness_and_novelty_go_by_canonical_smiles(score):
    found = score(["C"] * 4, ["OCC", "CCO", "CN", "("], train=["C(C)O", "bad"])
    assert found["uniqueness"] == pytest.approx(2 / 3)
    assert found["novelty"] == pytest.approx(1 / 2)


@pytest.mark.parametrize("output", ["", "not a molecule", "C1CC", "CC(C)(C)(C)C"])
def test_outputs_that_are_no_molecule_leave_similarities_without_a_row(score, output):
    found = score(["CCO"], [output])
    assert (found["validity"], found["exact"], found["morgan"], found["uniqueness"]) == (0, 0, None, None)
    assert found["stereo_free"]["n"] == 0
    assert found["stereo_free"]["exact"] is None


def test_a_reference_that_is_no_molecule_counts_as_missed(score):
    found = score(["(", "CCO"], ["CCO", "CCO"])
    assert (found["exact"], found["validity"], found["maccs"]) == (0.5, 1, 1)


def test_structures_without_inchi_are_compared_by_their_smiles(score):
    assert score.profiles("*CC").inchi == ""
    assert score(["*CC", "*CC"], ["CC*", "*CN"])["exact"] == 0.5


def test_sets_that_do_not_fit_are_refused(score):
    with pytest.raises(ValueError, match="1 references and 0 outputs"):
        score(["C"], [])


def test_without_the_package_fcd_is_none_with_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcd", None)
    found = GenerationScorer()(REFERENCES, OUTPUTS)
    assert found["fcd"] is None
    assert "pip install fcd" in found["fcd_reason"]


def test_fcd_of_less_than_two_molecules_is_none_with_the_reason():
    pytest.importorskip("fcd", reason="fcd is not installed")
    found = GenerationScorer()(["CCO", "CCN"], ["CCO", "x"])
    assert found["fcd"] is None
    assert "at least two" in found["fcd_reason"]


@pytest.mark.slow
def test_fcd_is_what_the_package_computes():
    package = pytest.importorskip("fcd", reason="fcd is not installed")
    a, b = ["C" * n + "O" for n in range(1, 7)], ["N" + "C" * n + "#N" for n in range(1, 6)]
    found = frechet.distance(frechet.activations(a), frechet.activations(b))
    assert found == pytest.approx(package.get_fcd(a, b), rel=1e-4)
    assert found > 1


@pytest.mark.slow
def test_the_released_molecules_score_as_known(held, score):
    rows = read_predictions(held / FILE, DESCRIPTION)
    found = score(rows.references, rows.outputs)
    assert found["n"] == 3300
    assert {key: found[key] for key in GOLDEN} == pytest.approx(GOLDEN, abs=0.0005)
    assert found["levenshtein"] == pytest.approx(28.816, abs=0.0005)
    free = found["stereo_free"]
    assert free["n"] == 2391
    assert free["exact"] > 2 * found["exact"]


@pytest.mark.slow
def test_the_released_molecules_are_as_far_as_known(held):
    pytest.importorskip("fcd", reason="fcd is not installed")
    rows = read_predictions(held / FILE, DESCRIPTION)
    found = GenerationScorer()(rows.references, rows.outputs)
    assert found["fcd"] == pytest.approx(8.46, abs=0.005)
