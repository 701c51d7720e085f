"""Coordinates against the structure, on molecules whose geometry is plain."""

from __future__ import annotations

import numpy as np
import pytest
from held import text
from rdkit import Chem

from modalities.molecule.conformers import embed
from modalities.molecule.metrics.geometry import (
    TOLERANCE,
    cis_trans,
    clashes,
    hands,
    lengths,
    reference_lengths,
)
from modalities.molecule.posed import placed

DRUG = "C[C@H](NC(=O)c1ccc(Cl)cc1)[C@@H](O)C/C=C/c1ccncc1"


def stretched(mol: Chem.Mol, by: float) -> Chem.Mol:
    return placed(mol, mol.GetConformer().GetPositions() * by)


def test_a_conformer_agrees_with_its_structure_in_all():
    mol = embed(Chem.MolFromSmiles(DRUG))
    good, bonds = lengths(mol, reference_lengths(mol))
    assert (good, bonds) == (mol.GetNumBonds(), mol.GetNumBonds())
    assert hands(mol) == (2, 2)
    assert cis_trans(mol) == (1, 1)
    assert clashes(mol) == 0


def test_bonds_are_right_within_a_tenth():
    mol = placed(Chem.MolFromSmiles("CC"), [[0, 0, 0], [0, 0, 1]])
    (reference,) = reference_lengths(mol)
    assert reference == pytest.approx(1.51, abs=0.03)  # C(sp3)-C(sp3)
    for share, right in (
        (1, 1),
        (1 + 0.99 * TOLERANCE, 1),
        (1 + 1.01 * TOLERANCE, 0),
        (1 - 1.01 * TOLERANCE, 0),
    ):
        assert lengths(stretched(mol, reference * share), np.array([reference])) == (right, 1)
    assert lengths(mol, None) == (0, 0)


def test_a_bond_that_closes_a_ring_counts_too():
    mol = embed(Chem.MolFromSmiles("C1CCCCC1"))
    where = mol.GetConformer().GetPositions()
    where[5] += 2 * (where[5] - where.mean(axis=0))  # off both of its neighbours
    assert lengths(placed(mol, where), reference_lengths(mol)) == (4, 6)


def test_a_mirror_image_has_all_hands_wrong_and_a_flat_one_none():
    mol = embed(Chem.MolFromSmiles(DRUG))
    where = mol.GetConformer().GetPositions()
    assert hands(placed(mol, where * (1, 1, -1))) == (0, 2)
    assert hands(placed(mol, where * (1, 1, 0))) == (0, 2)
    assert hands(embed(Chem.MolFromSmiles("CCO"))) == (0, 0)


@pytest.mark.parametrize(
    "smiles",
    [
        "CC[S@](C)=O",
        "CC[P@](C)c1ccccc1",
        "C[C@H]1C[N@]1CC",
        "C[N@+](CC)(CCC)c1ccccc1",
        "C[C@@H]1CC[C@H](O)CC1",
        "O=C1C[C@@H]2CC[C@H]1C2",
        "O[C@@H]([C@H](O)C(=O)O)C(=O)O",
        "C[C@H](F)[C@@H](Cl)[C@@H](F)C",
    ],
)
def test_hands_of_every_kind_are_seen_by_their_labels(smiles):
    mol = embed(Chem.MolFromSmiles(smiles))
    good, centres = hands(mol)
    assert good == centres > 0
    mirrored = placed(mol, mol.GetConformer().GetPositions() * (1, 1, -1))
    bare = Chem.Mol(mol)  # a mirror image is wrong unless it is the same molecule
    for atom in bare.GetAtoms():
        atom.InvertChirality()
    same = Chem.MolToSmiles(bare) == Chem.MolToSmiles(mol)
    assert hands(mirrored) == ((centres if same else 0), centres)


def test_a_double_bond_on_the_other_side_is_wrong():
    cis, trans = (embed(Chem.MolFromSmiles(one)) for one in ("C/C=C\\C", "C/C=C/C"))
    assert cis_trans(cis) == cis_trans(trans) == (1, 1)
    assert cis_trans(placed(cis, trans.GetConformer().GetPositions())) == (0, 1)
    assert cis_trans(embed(Chem.MolFromSmiles("CC=CC"))) == (0, 0)  # neither is written


def test_atoms_clash_far_along_the_chain_and_between_fragments_but_ions_do_not():
    chain = placed(Chem.MolFromSmiles("CCCC"), [[0, 0, 0], [1.5, 0, 0], [1.5, 1.5, 0], [0.2, 1.5, 0]])
    assert clashes(chain) == 1  # 1.5 Angstrom between the ends, whose radii of 1.7 sum to 3.4
    opened = chain.GetConformer().GetPositions()
    opened[3] = [3.0, 1.5, 0]
    assert clashes(placed(chain, opened)) == 0
    pair = Chem.MolFromSmiles("CC.CC")
    assert clashes(placed(pair, [[0, 0, 0], [1.5, 0, 0], [0, 2, 0], [1.5, 2, 0]])) == 2
    assert clashes(placed(pair, [[0, 0, 0], [1.5, 0, 0], [0, 3.5, 0], [1.5, 3.5, 0]])) == 0
    assert clashes(placed(Chem.MolFromSmiles("[Na+].[Cl-]"), [[0, 0, 0], [2.4, 0, 0]])) == 0


@pytest.mark.slow
def test_conformers_of_real_molecules_agree_with_their_structures():
    totals = np.zeros((3, 2), int)
    free = []
    for line in text("molecule", "chebi20_validation.txt.zst").splitlines()[1::60]:
        mol = Chem.MolFromSmiles(line.split("\t")[1].replace("\\\\", "\\"))
        if mol is None or mol.GetNumAtoms() > 40:
            continue
        try:
            mol = embed(mol)
        except ValueError:
            continue
        totals += [hands(mol), cis_trans(mol), lengths(mol, reference_lengths(mol))]
        free.append(clashes(mol) == 0)
    (right, centres), (sides, bonds), (good, lines) = totals.tolist()
    assert right == centres > 50
    assert sides == bonds > 5
    assert good / lines > 0.99
    assert np.mean(free) > 0.9
