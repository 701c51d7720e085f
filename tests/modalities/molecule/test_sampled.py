"""The law of the molecule block, at its full size: whatever is drawn from the grammar is a molecule."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from rdkit import Chem, rdBase

from modalities.molecule.mol3d import Mol3D
from modalities.molecule.posed import in_space
from modalities.molecule.selfies import Selfies
from modalities.molecule.symbols import PRESETS
from unitok import Codes
from unitok.modality import BadItem, Modality

COUNT = 10_000
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55)


def drawn(modality: Modality, rng: random.Random, until: int) -> list[int]:
    """A body of at least `until` codes, each drawn evenly from what may follow."""
    ids: list[int] = []
    while True:
        legal = modality.legal(ids)
        if legal.end and (len(ids) >= until or not legal.ranges):
            return ids
        at = rng.randrange(sum(map(len, legal.ranges)))
        for some in legal.ranges:
            if at < len(some):
                ids.append(some[at])
                break
            at -= len(some)


def decoded(modality: Modality, bodies: list[list[int]]) -> list[object]:
    with rdBase.BlockLogs():
        return list(modality.decode([Codes(torch.tensor(ids)) for ids in bodies]))


@pytest.mark.slow
@pytest.mark.parametrize("alphabet", [None, "wide"])
@pytest.mark.parametrize("constraints", PRESETS)
def test_ten_thousand_drawn_bodies_are_molecules(alphabet, constraints):
    modality, rng = Selfies(constraints, alphabet=alphabet), random.Random(0)
    items = decoded(modality, [drawn(modality, rng, rng.choice(LENGTHS)) for _ in range(COUNT)])
    assert len(items) == COUNT
    with rdBase.BlockLogs():
        mols = [Chem.MolFromSmiles(one) for one in items]
    assert all(mol is not None and mol.GetNumAtoms() > 0 for mol in mols)


@pytest.mark.slow
def test_ten_thousand_drawn_bodies_with_coordinates_are_molecules_in_space():
    modality, rng = Mol3D(), random.Random(1)
    bodies = []
    for _ in range(COUNT):
        plain = drawn(modality.plain, rng, rng.choice(LENGTHS[:-2]))
        ids = [*plain, modality.mark]
        while (legal := modality.legal(ids)).ranges:
            (some,) = legal.ranges
            ids.append(rng.choice(some))
        bodies.append(ids)
    kept = 0
    for item in decoded(modality, bodies):
        assert isinstance(item, Chem.Mol)
        assert in_space(item)
        assert np.isfinite(item.GetConformer().GetPositions()).all()
        with rdBase.BlockLogs():
            smiles = modality.label(item)
            assert Chem.MolFromSmiles(smiles) is not None
            try:
                [again] = modality.decode(modality.encode([item]))
            except BadItem:
                continue  # refused with its reason, never another molecule
            assert modality.label(again) == smiles
        kept += 1
    assert kept > COUNT / 2


@pytest.mark.slow
def test_bodies_that_end_amid_their_coordinates_are_molecules():
    modality, rng = Mol3D(), random.Random(2)
    for _ in range(500):
        ids = [*drawn(modality.plain, rng, rng.choice(LENGTHS[:-2])), modality.mark]
        atoms = modality.mol("".join(modality.plain.symbols[i] for i in ids[:-1])).GetNumAtoms()
        for _ in range(3 * rng.randint(0, atoms)):
            (some,) = modality.legal(ids).ranges
            ids.append(rng.choice(some))
        with rdBase.BlockLogs():
            [item] = modality.decode([Codes(torch.tensor(ids))])
            assert Chem.MolFromSmiles(modality.label(item)) is not None
