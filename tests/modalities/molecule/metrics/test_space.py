"""What is said of coordinates: conformers pass, mirror images and drawn codes do not, both ways of writing are measured."""

from __future__ import annotations

import json

import pytest
from rdkit import Chem

import unitok
from modalities.molecule.conformers import embed
from modalities.molecule.metrics.ensembles import Ensembles
from modalities.molecule.metrics.floor import Drawn, training
from modalities.molecule.metrics.space import SpaceScorer
from modalities.molecule.posed import placed
from modalities.molecule.tasks.structure import place
from modalities.molecule.told import told
from modalities.molecule.written import Bins

SMILES = ("C[C@H](N)C(=O)Nc1ccccc1", "OC[C@@H]1CCCN1C(=O)C", "C/C=C/CCC(=O)O", "CCOC(=O)c1ccc(N)cc1")


@pytest.fixture(scope="module")
def posed() -> list[Chem.Mol]:
    return [embed(Chem.MolFromSmiles(one)) for one in SMILES]


@pytest.fixture(scope="module")
def ensembles() -> Ensembles:
    return Ensembles(3)


def coded(mols: list[Chem.Mol], write: str) -> list[Chem.Mol]:
    mol3d = unitok.create("molecule.mol3d", write=write, count=4)
    return mol3d.decode(mol3d.encode(mols))


def test_good_coordinates_stand_far_above_the_floor(posed, ensembles):
    found = SpaceScorer(ensembles, posed)(coded(posed, "bins"), posed)
    assert (found["way"], found["n"], found["written"], found["told"]) == ("bins", 4, 1.0, 1.0)
    assert (found["conformers"], found["searched"]) == (3, 4)
    for one in (found, found["reference"], found["etkdg"]):
        assert one["lengths"] > 0.95
        assert (one["hands"], one["cis_trans"], one["clash_free"]) == (1, 1, 1)
        assert 0.1 < one["rmsd"] < 1.5
    floor = found["floor"]
    assert floor["lengths"] < 0.85
    assert floor["rmsd"] > found["rmsd"]
    assert json.loads(json.dumps(found)) == found


def test_a_mirror_image_has_the_wrong_hand_and_lies_farther_off(posed, ensembles):
    right = SpaceScorer(ensembles)(posed, [])
    mirrored = [placed(mol, mol.GetConformer().GetPositions() * (1, 1, -1)) for mol in posed]
    found = SpaceScorer(ensembles)(mirrored, [])
    assert (right["hands"], found["hands"]) == (1, 0)
    assert found["lengths"] == right["lengths"]
    assert (found["told"], found["way"], found["floor"]) == (None, None, None)  # coordinates without codes
    assert found["reference"]["lengths"] is None  # and no right ones


def test_ids_are_those_of_conformers_or_are_not(posed, ensembles):
    written = coded(posed, "ids")
    found = SpaceScorer(ensembles, posed)(written, posed)
    assert (found["way"], found["told"]) == ("e3fp1024", 1.0)
    assert found["ids_level1"] > 0.8 > found["floor"]["ids_level1"]
    assert found["ids_level1"] >= found["ids"] >= found["ids_level2"]
    assert found["ids"] == found["reference"]["ids"]  # the references' own ids were written
    assert found["floor"]["ids"] < 0.3
    assert "lengths" not in found  # the conformer that the ids chose is one of ETKDG's
    for mol in written:  # each atom's ids moved to the next atom
        codes = told(mol).codes
        for atom in mol.GetAtoms():
            atom.SetProp("codes_e3fp1024", " ".join(map(str, codes[atom.GetIdx() - 1])))
    assert SpaceScorer(ensembles)(written, posed)["ids"] < found["ids"]


def test_atoms_without_codes_and_rows_without_coordinates_are_counted(posed, ensembles):
    mol3d = unitok.create("molecule.mol3d")
    [codes] = mol3d.encode([posed[0]])
    half = mol3d.decode([unitok.Codes(codes.ids[: codes.ids.tolist().index(mol3d.mark) + 1 + 3 * 6])])
    found = SpaceScorer(ensembles)([*half, Chem.MolFromSmiles("CCO"), None], [None] * 3)
    assert found["told"] == 6 / 12
    assert (found["n"], found["written"]) == (1, 1 / 2)


def test_two_ways_or_none_are_refused(posed, ensembles):
    both = coded(posed[:1], "bins") + coded(posed[1:2], "ids")
    with pytest.raises(ValueError, match="written in several ways"):
        SpaceScorer(ensembles)(both, [])
    with pytest.raises(ValueError, match="no molecule that was written is in space"):
        SpaceScorer(ensembles)([None, Chem.MolFromSmiles("CCO")], [])


def test_conformers_are_searched_once_and_do_not_repeat():
    ensembles = Ensembles(2)
    mol = Chem.MolFromSmiles("OCCCN")
    known = ensembles(mol)
    assert known.GetNumConformers() == 2
    assert ensembles(Chem.MolFromSmiles("NCCCO")) is known
    other = ensembles.another(mol).GetConformer().GetPositions()
    assert all(abs(other - one.GetPositions()).max() > 0.01 for one in known.GetConformers())
    assert ensembles(Chem.MolFromSmiles("C1#CC1")) is None
    with pytest.raises(ValueError, match="0 conformers are out of range"):
        Ensembles(0)


def test_drawn_codes_are_those_of_training_molecules(posed):
    drawn = Drawn(Bins(), posed[:1])
    codes = drawn.codes(posed[1])
    assert codes.shape == (10, 3)
    for part in range(3):
        assert set(codes[:, part]) <= set(drawn.table[:, part])
    assert (codes != drawn.codes(posed[1])).any()
    with pytest.raises(ValueError, match="no training molecule"):
        Drawn(Bins(), [])


def test_training_molecules_come_from_files_of_both_kinds(posed, tmp_path):
    records = [place(f"k/{n}", "train" if n else "heldout", mol) for n, mol in enumerate(posed)]
    (tmp_path / "place.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "some.sdf").write_text("".join(Chem.MolToMolBlock(mol) + "\n$$$$\n" for mol in posed))
    (tmp_path / "bad.jsonl").write_text('{"split": "train"}')
    (tmp_path / "flat.sdf").write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CO")) + "\n$$$$\n")
    assert len(training(tmp_path / "place.jsonl")) == 3
    assert len(training(tmp_path / "some.sdf")) == 4
    with pytest.raises(ValueError, match="record 1 is none of the task place"):
        training(tmp_path / "bad.jsonl")
    with pytest.raises(ValueError, match="has no molecule in space"):
        training(tmp_path / "flat.sdf")
