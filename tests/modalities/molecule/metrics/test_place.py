"""RMSD to the right coordinates: what the model wrote beside conformers, the flat layout and drawn codes; the page."""

from __future__ import annotations

import json

import pytest
from rdkit import Chem

from modalities.molecule.conformers import embed
from modalities.molecule.metrics.ensembles import Ensembles
from modalities.molecule.metrics.place import place_page, place_report
from modalities.molecule.posed import placed
from modalities.molecule.rmsd import rmsd

SMILES = ("CC(C)CC(=O)NCCO", "OC[C@@H]1CCCN1C(=O)C", "CCOC(=O)c1ccc(N)cc1")


@pytest.fixture(scope="module")
def right() -> list[Chem.Mol]:
    return [embed(Chem.MolFromSmiles(one)) for one in SMILES]


@pytest.fixture(scope="module")
def ensembles() -> Ensembles:
    return Ensembles(4)


def test_the_right_coordinates_are_at_no_distance_in_any_order_of_atoms(right, ensembles):
    answers = [[Chem.RenumberAtoms(mol, list(range(mol.GetNumAtoms()))[::-1])] for mol in right]
    rows, found = place_report(right, answers, ensembles, right)
    assert found["rmsd"] == pytest.approx(0, abs=1e-6)
    assert (found["n"], found["same"], found["within_0.5"], found["conformers"]) == (3, 1, 1, 4)
    best, one, flat, floor = (found[way] for way in ("best_etkdg", "etkdg", "flat", "floor"))
    assert 0 < best["rmsd"] < one["rmsd"]
    assert best["rmsd"] < flat["rmsd"]
    assert best["rmsd"] < floor["rmsd"]
    assert one["rmsd"] == one["rmsd_same"]
    assert floor["within_0.5"] < 1
    assert found["space"]["hands"] == 1
    assert json.loads(json.dumps(found)) == found
    assert [row.found["etkdg"].rmsd for row in rows] == [rmsd(mol, ensembles.another(mol)) for mol in right]


def test_other_molecules_have_no_distance_and_count_as_missed(right, ensembles):
    answers = [[right[0]], [right[0]], [None]]
    _, found = place_report(right, answers, ensembles)
    assert (found["same"], found["within_1.25"]) == (1 / 3, 1 / 3)
    assert found["rmsd"] == pytest.approx(0, abs=1e-6)
    assert found["flat"]["rmsd_same"] != found["flat"]["rmsd"]
    assert found["floor"] == {
        "rmsd": None,
        "within_0.5": 0,
        "within_1.25": 0,
        "same": 0,
        "rmsd_same": None,
    }  # no training molecules
    without = place_report(right, [[Chem.MolFromSmiles(one)] for one in SMILES], ensembles)[1]
    assert (without["rmsd"], without["same"]) == (None, 0)
    assert "space" not in without


def test_of_several_answers_the_nearest_counts(right, ensembles):
    other = ensembles.another(right[0])
    wrong = placed(right[0], right[0].GetConformer().GetPositions() * (1, 1, 0))
    for some in ([wrong, other], [other, wrong]):
        rows, _ = place_report(right[:1], [some], ensembles)
        assert rows[0].found["model"].rmsd == min(rmsd(right[0], one) for one in some)


def test_the_page_shows_right_and_written_side_by_side(right, ensembles):
    other = Chem.MolFromSmiles("CCO")
    rows, found = place_report(
        [*right, right[0], right[1]], [[right[0]], [other], [None], [embed(other)], []], ensembles
    )
    page = place_page(rows, found)
    assert page.count("data:image/png") == 5 * 2 + 1 + 2  # of the two others one is in space
    assert page.count('width="660"') == 1  # right, written and nearest conformer
    assert page.count('width="440"') == 4
    assert page.count("<figcaption>right | written 0.00 Å | nearest conformer") == 1
    assert "Agreement of the first answers" in page
    assert place_page(rows, found, most=1).count("data:image/png") == 2


def test_without_questions_or_coordinates_there_is_nothing_to_measure(right, ensembles):
    with pytest.raises(ValueError, match="there is no question to measure"):
        place_report([], [], ensembles)
    with pytest.raises(ValueError, match="CCO has no coordinates to compare with"):
        place_report([Chem.MolFromSmiles("CCO")], [[None]], ensembles)
