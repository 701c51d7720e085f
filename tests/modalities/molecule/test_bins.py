"""Internal coordinates as codes: the inverse law, errors that do not add up, chirality, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from held import text
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

from modalities.molecule.bins import PARTS, from_codes, to_codes
from modalities.molecule.references import references

DRUGS = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C[C@H]2C[C@@H]1[C@H](OC(=O)c1ccccc1)[C@H]2C",
    "O=C(O)/C=C\\C(=O)O",
    "C[C@@H](O)[C@H](N)C(=O)N[C@@H](Cc1ccccc1)C(=O)O",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "CS(=O)c1ccc(C#CC#N)cc1",
    "CCCCCCCCCCCCCCCCCC",
    "C1CC2(C1)CC1CCC2C1",
)
SALTS = ("[Na+].[Cl-]", "CC(=O)[O-].[Na+]", "C[NH3+].[Cl-].O", "c1ccccc1.c1ccccc1")
SMALL = ("C", "CC", "C#N", "CC#CC", "O=C=O", "[Na+]", "F[P-](F)(F)(F)(F)F", "[2H][2H]", "C[Hg]C")


def ordered(mol: Chem.Mol) -> Chem.Mol:
    """Atoms as the canonical SMILES names them: each is bonded to an earlier one of its fragment."""
    Chem.MolToSmiles(mol)
    return Chem.RenumberAtoms(mol, list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]))


def embedded(smiles: str, seed: int = 3) -> tuple[Chem.Mol, np.ndarray]:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=seed) == 0
    mol = ordered(Chem.RemoveHs(mol))
    positions = mol.GetConformer().GetPositions()
    for number, part in enumerate(Chem.GetMolFrags(mol)):
        positions[list(part)] += number * np.array([1.0, 2.0, 6.0])  # RDKit lays them on one another
    return mol, positions


def error(a: np.ndarray, b: np.ndarray) -> float:
    """RMSD after the best turn, Angstrom."""
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, v = np.linalg.svd(a.T @ b)
    s[-1] *= np.sign(np.linalg.det(u @ v))
    return math.sqrt(max((a**2).sum() + (b**2).sum() - 2 * s.sum(), 0) / len(a))


def seen(mol: Chem.Mol, positions: np.ndarray) -> str:
    """SMILES with the stereo that the positions have, every centre told."""
    mol = Chem.Mol(mol)
    mol.GetConformer().SetPositions(positions)
    Chem.RemoveStereochemistry(mol)
    Chem.AssignStereochemistryFrom3D(mol)
    return Chem.MolToSmiles(mol)


GRAPHS = [ordered(Chem.MolFromSmiles(smiles)) for smiles in (*DRUGS, *SALTS, *SMALL)]


@given(st.sampled_from(GRAPHS), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=150, deadline=None)
def test_codes_come_back_whatever_they_say_and_however_the_molecule_lies(mol, seed, edges):
    # The law: every molecule in order, every table in range whose codes without a meaning are 0.
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, PARTS, (mol.GetNumAtoms(), 3))
    if edges:  # angles next to 0 and 180 degrees, where references are nearly on one line
        codes[:, 1] = rng.choice([0, PARTS[1] - 1], len(codes))
    codes[0] = 0
    codes[1:2, 1:] = 0
    codes[2:3, 2] = 0
    positions = from_codes(mol, codes)
    assert positions.shape == (len(codes), 3)
    assert positions.dtype == np.float64
    assert np.isfinite(positions).all()
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for pose in (positions, positions @ turn.T + rng.normal(0, 20, 3)):
        found = to_codes(mol, pose)
        assert found.dtype == np.int64
        assert np.array_equal(found, codes)


@pytest.mark.parametrize("smiles", DRUGS)
def test_a_molecule_comes_back_with_its_chirality(smiles):
    mol, positions = embedded(smiles)
    codes = to_codes(mol, positions)
    assert (codes >= 0).all()
    assert (codes < PARTS).all()
    again = from_codes(mol, codes)
    assert error(positions, again) < 0.06
    assert seen(mol, again) == seen(mol, positions)
    assert np.array_equal(to_codes(mol, again), codes)


def test_molecules_of_an_sdf_come_back():
    # The whole of it: median .024, at most .051 Angstrom; 300 of ZINC .040 and .052, 200 of ChEBI-20 .042 and .052.
    blocks = text("molecule", "gdb1k.sdf.zst").split("$$$$\n")[:-1:5]
    mols = [ordered(mol) for mol in map(Chem.MolFromMolBlock, blocks) if mol is not None]
    assert len(mols) > 190
    errors = []
    for mol in mols:
        positions = mol.GetConformer().GetPositions()
        again = from_codes(mol, to_codes(mol, positions))
        errors.append(error(positions, again))
        assert seen(mol, again) == seen(mol, positions)
    assert np.median(errors) < 0.03
    assert max(errors) < 0.06


def test_errors_add_up_in_an_open_loop_alone():
    mol, positions = embedded("CCCCCCCCCCCCCCCCCCCCCCCCCCCCCC")
    closed, opened = (
        error(positions, from_codes(mol, to_codes(mol, positions, way))) for way in (True, False)
    )
    assert closed < 0.055
    assert opened > 2 * closed


def test_bonds_stay_within_a_bin():
    for smiles in DRUGS:
        mol, positions = embedded(smiles)
        again = from_codes(mol, to_codes(mol, positions))
        for atom, place in enumerate(references(mol)):
            if not place.opens:
                lengths = [np.linalg.norm(x[atom] - x[place.parent]) for x in (positions, again)]
                assert abs(lengths[0] - lengths[1]) < 0.0134


def test_the_mirror_image_has_other_codes_and_a_turn_has_not():
    mol, positions = embedded("C[C@H](N)C(=O)O")
    codes = to_codes(mol, positions)
    assert not np.array_equal(to_codes(mol, positions * (1, 1, -1)), codes)
    assert np.array_equal(to_codes(mol, positions[:, [1, 2, 0]] + 7), codes)


def test_a_prefix_places_the_first_atoms():
    mol, positions = embedded(DRUGS[3])
    codes = to_codes(mol, positions)
    whole = from_codes(mol, codes)
    for count in range(len(codes) + 1):
        assert np.array_equal(from_codes(mol, codes[:count]), whole[:count])


def test_neighbours_of_a_centre_are_told_by_the_turn_from_one_to_the_next():
    # The second substituent's dihedral is against the first, so it says which hand the centre has.
    left, right = (embedded(smiles) for smiles in ("CC[C@H](F)Cl", "CC[C@@H](F)Cl"))
    degrees = [to_codes(*one)[4, 2] * 5 + 2.5 - 180 for one in (left, right)]
    assert references(left[0])[4][:3] == (2, 1, 3)
    assert sorted(round(abs(d) / 20) for d in degrees) == [6, 6]
    assert degrees[0] * degrees[1] < 0


def test_references_follow_from_graph_and_order():
    mol = Chem.MolFromSmiles("CC(C)(C)C1CC1.[Cl-]")
    assert [place[:3] for place in references(mol)] == [
        (-1, -1, -1),
        (0, -1, -1),
        (1, 0, -1),
        (1, 0, 2),
        (1, 0, 3),
        (4, 1, 0),  # along the chain: atom 4 has no other neighbour yet
        (5, 4, 1),
        (6, 5, 4),  # another fragment, against the atom written before it
    ]
    for atom, (parent, grand, third, opens) in enumerate(references(mol)):
        found = [one for one in (parent, grand, third) if one >= 0]
        assert len(found) == min(atom, 3) == len(set(found))
        assert all(one < atom for one in found)
        assert opens == (atom in (0, 7))


def test_fragments_keep_their_shape():
    for smiles in SALTS:
        mol, positions = embedded(smiles)
        again = from_codes(mol, to_codes(mol, positions))
        for part in Chem.GetMolFrags(mol):
            rows = list(part)
            assert error(positions[rows], again[rows]) < 0.05
            if rows[0]:
                before, after = (np.linalg.norm(x[rows[0]] - x[rows[0] - 1]) for x in (positions, again))
                assert abs(before - after) < 0.04 * before
        assert error(positions, again) < 0.5


def test_atoms_on_a_line():
    line = np.array([[0, 0, 0], [1.2, 0, 0], [2.6, 0, 0], [3.8, 0, 0]])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for mol, count in (("C", 1), ("CC", 2), ("C#N", 2), ("O=C=O", 3), ("C#CC#C", 4)):
        mol, where = Chem.MolFromSmiles(mol), line[:count] @ turn.T + 5
        codes = to_codes(mol, where)
        assert error(where, from_codes(mol, codes)) < 0.06
        assert np.array_equal(codes[:1], [[0, 0, 0]])
    empty = Chem.Mol()
    assert to_codes(empty, np.zeros((0, 3))).shape == from_codes(empty, []).shape == (0, 3)


def test_input_that_is_no_molecule_in_space_is_refused():
    mol, positions = embedded("CCO")
    with pytest.raises(ValueError, match="positions are .2, 3.: the molecule has 3 atoms"):
        to_codes(mol, positions[:2])
    with pytest.raises(ValueError, match="position of atom 1 is not finite"):
        to_codes(mol, np.where(np.arange(3)[:, None] == 1, np.nan, positions))
    with pytest.raises(ValueError, match="atoms 0 and 1 are bonded and 0.00 Angstrom apart"):
        to_codes(mol, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="are bonded and 1[0-9].* Angstrom apart"):
        to_codes(mol, positions * 10)
    with pytest.raises(ValueError, match="atom 1 is bonded to no earlier atom"):
        to_codes(Chem.RenumberAtoms(mol, [0, 2, 1]), positions)


def test_codes_that_say_nothing_are_refused():
    mol, positions = embedded("CCO")
    codes = to_codes(mol, positions)
    with pytest.raises(ValueError, match="codes of 4 atoms are too many"):
        from_codes(mol, np.concatenate([codes, codes[:1]]))
    with pytest.raises(ValueError, match="dihedral code 72 of atom 2 is out of range: 0 to 71"):
        from_codes(mol, codes + [[0, 0, 0], [0, 0, 0], [0, 0, 72]])
    with pytest.raises(ValueError, match="length code -1 of atom 0"):
        from_codes(mol, codes - [[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match=r"give integers \[atoms, 3\]"):
        from_codes(mol, codes[:, :2])
    with pytest.raises(ValueError, match=r"give integers \[atoms, 3\]"):
        from_codes(mol, codes.astype(float))
