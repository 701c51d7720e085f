"""Molecules of which some atoms have positions: what is told stays, and nothing lies on anything else."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from modalities.molecule.completed import completed
from modalities.molecule.conformers import embed

SALTS = ["[Na+].CC(=O)[O-]", "CC(=O)O.CCN.O", "[Cl-].[Cl-].[Ca+2]", "c1ccccc1.c1ccncc1"]


def gap(mol: Chem.Mol) -> float:
    """The smallest distance between heavy atoms of two fragments, Angstrom."""
    x = mol.GetConformer().GetPositions()
    parts = [list(part) for part in Chem.GetMolFrags(mol)]
    return min(
        np.linalg.norm(x[a][:, None] - x[b][None], axis=-1).min() for a in parts for b in parts if a[0] < b[0]
    )


@pytest.mark.parametrize("smiles", SALTS)
def test_what_is_told_stays_and_fragments_lie_apart(smiles):
    mol = embed(Chem.MolFromSmiles(smiles))
    where = mol.GetConformer().GetPositions() + 20.0
    for count in range(mol.GetNumAtoms() + 1):
        found = completed(mol, where[:count])
        assert Chem.MolToSmiles(found) == Chem.MolToSmiles(mol)
        x = found.GetConformer().GetPositions()
        assert np.abs(x[:count] - where[:count]).max(initial=0) < 1e-9
        assert gap(found) > 2.0
        for bond in found.GetBonds():
            assert 0.9 < np.linalg.norm(x[bond.GetBeginAtomIdx()] - x[bond.GetEndAtomIdx()]) < 1.9


def test_the_rest_fits_to_what_is_told():
    mol = embed(Chem.MolFromSmiles("OC(=O)c1ccccc1OC(C)=O"))
    where = mol.GetConformer().GetPositions()
    found = completed(mol, where[:8]).GetConformer().GetPositions()
    ring = [3, 4, 5, 6, 7, 8]  # atom 8 is not told, the others of its ring are
    assert np.abs(found[ring] - where[ring]).max() < 0.5


def test_what_no_molecule_can_be_stays_as_it_is_told():
    benzene = Chem.MolFromSmiles("c1ccccc1")
    far = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]])
    assert np.array_equal(completed(benzene, far).GetConformer().GetPositions()[:3], far)


def test_a_ring_that_no_space_holds_has_none():
    trans = Chem.MolFromSmiles("F[C@]12C[C@@]1(F)C2")  # two threefold rings joined on opposite sides
    assert completed(trans, np.zeros((0, 3))) is None
