"""Molecules in space as text: coordinates and codes come back, and the SMILES keeps its own stereo."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

import unitok
from modalities.molecule.conformers import embed
from modalities.molecule.posed import in_space, placed
from modalities.molecule.told import as_written, note, to_cxsmiles, told

ALANINE = "C[C@H](N)C(=O)O"


def distances(mol: Chem.Mol) -> np.ndarray:
    where = mol.GetConformer().GetPositions()
    return np.linalg.norm(where[:, None] - where[None], axis=-1)


@pytest.mark.parametrize(
    "mol",
    [
        placed(Chem.MolFromSmiles("OCCN"), [[0, 0, 0], [1.4, 0, 0], [1.4, 1.5, 0], [2.8, 1.5, 0.5]]),
        placed(Chem.MolFromSmiles("C=C"), [[0, 0, 0], [1.33, 0, 0]]),
        embed(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O.[Na+]")),
    ],
    ids=["a chain", "a molecule on an axis", "two fragments"],
)
def test_coordinates_in_text_come_back(mol):
    back = as_written(to_cxsmiles(mol))
    assert in_space(back)
    names = [atom.GetSymbol() for atom in back.GetAtoms()]
    order = Chem.Mol(mol).GetSubstructMatch(back)
    assert names == [mol.GetAtomWithIdx(i).GetSymbol() for i in order]
    np.testing.assert_allclose(distances(back), distances(mol)[np.ix_(order, order)], atol=2e-3)


def test_without_coordinates_there_is_nothing_to_write():
    with pytest.raises(ValueError, match="CO has no 3D conformer"):
        to_cxsmiles(Chem.MolFromSmiles("CO"))
    assert not in_space(as_written("CO"))


def test_the_smiles_keeps_its_hand_where_coordinates_have_the_other():
    mol = embed(Chem.MolFromSmiles(ALANINE))
    mirrored = placed(mol, mol.GetConformer().GetPositions() * [1, 1, -1])
    text = to_cxsmiles(mirrored)
    assert Chem.MolToSmiles(Chem.MolFromSmiles(text)) != ALANINE  # RDKit takes the coordinates' hand
    assert Chem.MolToSmiles(as_written(text)) == ALANINE


@pytest.mark.parametrize("write", ["bins", "ids"])
def test_a_decoded_molecule_says_which_codes_placed_its_atoms(write):
    mol3d = unitok.create("molecule.mol3d", write=write, count=2)
    [codes] = mol3d.encode([embed(Chem.MolFromSmiles(ALANINE))])
    parts = len(mol3d.way.parts)
    at = codes.ids.tolist().index(mol3d.mark) + 1
    [whole, cut] = mol3d.decode([codes, unitok.Codes(codes.ids[: at + 2 * parts])])
    wanted = mol3d.way.write([embed(Chem.MolFromSmiles(ALANINE))])[0]
    for mol, known in ((whole, 6), (cut, 2)):
        back = as_written(to_cxsmiles(mol))
        for one in (mol, back):
            found = told(one)
            assert found.way == {"bins": "bins", "ids": "e3fp1024"}[write]
            assert ((found.codes >= 0).all(axis=1)).sum() == known
        assert Chem.MolToSmiles(back) == Chem.MolToSmiles(mol)
    assert (told(whole).codes == wanted).all()
    assert (told(cut).codes[2:] == -1).all()


def test_codes_that_cannot_be_are_refused():
    mol = Chem.MolFromSmiles("CO")
    assert told(mol) is None
    note(mol, "bins", np.array([[1, 2, 3], [4, 5, 6]]))
    mol.GetAtomWithIdx(1).SetProp("codes_bins", "4 5")
    with pytest.raises(ValueError, match=r"atoms have \[2, 3\] codes"):
        told(mol)
    note(mol, "e3fp64", np.array([[1, 2]]))
    with pytest.raises(ValueError, match="codes_bins and codes_e3fp64"):
        told(mol)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("atomProp:0.codes_bins.1 x 3", "codes_bins holds 'x': codes are whole numbers"),
        ("atomProp:0.codes_bins.1 -2 3", "codes_bins holds '-2'"),
        ("atomProp:0.codes_words.1 2 3", "atoms have codes_words: codes are codes_bins, or codes_e3fp and"),
        ("atomProp:0.codes_e3fp0.1", "atoms have codes_e3fp0"),
        ("atomProp:0.codes_bins.1 2 3:1.codes_bins.1", r"atoms have \[1, 3\] codes"),
    ],
)
def test_text_with_codes_that_are_none_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        as_written(f"CO |(0.1,0.2,0.3;1.5,0.2,0.4),{fields}|")


@pytest.mark.parametrize(
    "text",
    [
        "CO |(0,0,1)|",
        "CO |(0,0,1;1,x,1)|",
        "C( |(0,0,1)|",
        "",
        " |(0,0,1)|",
        "CO |(1,1;1,2,3)|",
        "CO |(0,0,1;1e9,0,1)|",
        "CO |(0,0,1;nan,0,1)|",
    ],
)
def test_text_that_is_no_molecule_in_space_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  each by its own reader
        as_written(text)


@pytest.mark.parametrize("text", ["CO", "CO |", "CO |$a;b$|", "CO name", "CO |(0,0;1,1)|"])
def test_text_without_coordinates_is_a_structure_alone(text):
    assert not in_space(as_written(text))
