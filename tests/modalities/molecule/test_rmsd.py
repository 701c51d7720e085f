"""RMSD: RDKit's values, exchanges of equal atoms, the trap of their number, and what is refused."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdMolAlign

from modalities.molecule.conformers import several
from modalities.molecule.posed import placed
from modalities.molecule.rmsd import kabsch, nearest, rmsd


def pair(smiles: str) -> tuple[Chem.Mol, Chem.Mol]:
    mol = several(Chem.MolFromSmiles(smiles), 2)
    first, second = (placed(mol, one.GetPositions()) for one in mol.GetConformers())
    return first, second


def turned(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return points @ (turn * np.sign(np.linalg.det(turn))) + rng.normal(0, 9, 3)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_turn_costs_nothing_and_noise_at_most_its_size(count, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 3, (count, 3))
    noise = rng.normal(0, 0.1, (count, 3))
    assert kabsch(points, turned(points, rng)) < 1e-6
    assert kabsch(points, turned(points + noise, rng)) <= np.sqrt((noise**2).sum() / count) + 1e-6


def test_a_batch_is_as_each():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 7, 3))
    assert np.allclose(kabsch(a, b), [kabsch(x, y) for x, y in zip(a, b, strict=True)])


def test_a_mirror_image_is_no_turn():
    (mol, _) = pair("C[C@H](N)C(=O)O")
    other = placed(mol, mol.GetConformer().GetPositions() * (1, 1, -1))
    assert rmsd(mol, other) > 0.1


@pytest.mark.parametrize(
    "smiles", ["CCCCCO", "c1ccccc1CCN", "CC(C)(C)CCc1ccc(F)cc1", "CC(=O)[O-]", "C[N+](=O)[O-]"]
)
def test_values_are_rdkits(smiles):
    one, two = pair(smiles)
    assert rmsd(one, two) == pytest.approx(rdMolAlign.GetBestRMS(Chem.Mol(one), two), abs=1e-4)
    assert rmsd(one, two, symmetry=False) == pytest.approx(rdMolAlign.AlignMol(Chem.Mol(one), two), abs=1e-4)
    assert rmsd(one, two) <= rmsd(one, two, symmetry=False) + 1e-9


def test_equal_atoms_may_change_places_and_all_their_order():
    one, _ = pair("CC(C)(C)c1ccccc1C(=O)[O-]")
    swapped = Chem.RenumberAtoms(one, [2, 1, 3, 0, *range(4, one.GetNumAtoms())])
    swapped = placed(one, swapped.GetConformer().GetPositions())
    assert rmsd(one, swapped) < 1e-6
    assert rmsd(one, swapped, symmetry=False) > 0.5
    other = Chem.RenumberAtoms(one, list(range(one.GetNumAtoms()))[::-1])
    assert rmsd(one, other) < 1e-6
    with pytest.raises(ValueError, match="have other atoms in their order: pair them with symmetry=True"):
        rmsd(one, other, symmetry=False)


def test_the_nearest_conformer_is_found_with_its_atoms_paired():
    mol = several(Chem.MolFromSmiles("CC(C)(C)CCc1ccccc1C(=O)[O-]"), 4)
    third = placed(mol, mol.GetConformer(2).GetPositions())
    other = Chem.RenumberAtoms(mol, [2, 1, 3, 0, *range(4, mol.GetNumAtoms())][::-1])
    found = nearest(third, other)
    assert (found.rmsd, found.conformer) == (pytest.approx(0, abs=1e-6), 2)
    assert kabsch(third.GetConformer().GetPositions(), found.positions) == pytest.approx(found.rmsd, abs=1e-6)
    assert nearest(third, placed(other, other.GetConformer(0).GetPositions())).rmsd == rmsd(third, mol) > 0.1


def test_hydrogens_do_not_count():
    one, two = pair("CCCO")
    assert rmsd(Chem.AddHs(one, addCoords=True), two) == pytest.approx(rmsd(one, two))


def test_millions_of_exchanges_take_no_time():
    one, two = pair("CC(C)(C)C(C(C)(C)C)C(C(C)(C)C)C(C)(C)C")
    start = time.monotonic()
    bound = rmsd(one, two)
    assert time.monotonic() - start < 5
    assert 0 < rmsd(one, two, most=4000) <= bound <= rmsd(one, two, most=1)


def test_what_is_refused():
    one, _ = pair("CCO")
    for other in ("CCN", "CC[O-]", "CC=O", "CCCO", "CCC[18OH]"):
        with pytest.raises(ValueError, match="are two molecules|have other atoms"):
            rmsd(one, pair(other)[0])
    with pytest.raises(ValueError, match="CCO has no coordinates: embed it first"):
        rmsd(one, Chem.MolFromSmiles("CCO"))
    with pytest.raises(ValueError, match="most=0 is out of range"):
        rmsd(one, one, most=0)
    with pytest.raises(ValueError, match=r"points are \[2, 3\] and \[3, 3\]"):
        kabsch(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="n at least 1"):
        kabsch(np.zeros((0, 3)), np.zeros((0, 3)))
