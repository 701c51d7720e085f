"""The 3D fingerprint: the ids of the e3fp package, laws, and what is refused."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

from modalities.molecule.e3fp import atom_ids, fingerprint
from modalities.molecule.murmur import hash_sequences

FOLDER = Path(__file__).parents[2] / "golden"
GOLDEN = json.loads((FOLDER / "e3fp.json").read_text())
LARGE = json.loads((FOLDER / "e3fp_large.json").read_text())


def placed(smiles: str, xyz) -> Chem.Mol:
    rules = Chem.SmilesParserParams()
    rules.removeHs = False
    mol = Chem.MolFromSmiles(smiles, rules)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for atom, where in enumerate(xyz):
        conformer.SetAtomPosition(atom, [float(c) for c in where])
    mol.AddConformer(conformer)
    return mol


def embedded(smiles: str, seed: int = 5) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=seed) == 0
    return Chem.RemoveHs(mol)


MOLECULES = [placed(row["smiles"], row["xyz"]) for row in GOLDEN["molecules"]]
ASPIRIN = embedded("CC(=O)Oc1ccccc1C(=O)O")


@pytest.mark.parametrize("key", sorted(GOLDEN["settings"]))
def test_every_id_is_that_of_the_e3fp_package(key):
    options = GOLDEN["settings"][key]
    rows = [
        (mol, row["ids"][key])
        for mol, row in zip(MOLECULES, GOLDEN["molecules"], strict=True)
        if key in row["ids"]
    ]
    assert len(rows) >= 38
    mols = [mol for mol, _ in rows]
    for found, (_, wanted) in zip(fingerprint(mols, bits=None, **options), rows, strict=True):
        assert found.tolist() == wanted["set"]
    for found, (_, wanted) in zip(atom_ids(mols, bits=None, **options), rows, strict=True):
        levels = np.array(wanted["levels"])
        assert np.array_equal(found[:, : len(levels)], levels.T)
        assert (found[:, len(levels) :] == -1).all()


@pytest.mark.parametrize("row", LARGE["molecules"], ids=lambda row: row["name"].partition(" ")[0])
def test_every_id_of_a_molecule_of_two_hundred_atoms_is_that_of_the_e3fp_package(row):
    mol = placed(row["smiles"], row["xyz"])
    assert mol.GetNumAtoms() > 200
    for key, options in LARGE["settings"].items():
        wanted = row["ids"][key]
        assert fingerprint(mol, bits=None, **options).tolist() == wanted["set"]
        found = atom_ids(mol, bits=None, **options)
        assert np.array_equal(found, np.array(wanted["levels"]).T)
        assert len(wanted["levels"]) == options["level"] + 1


def test_hashes_are_murmur3s():
    # Computed by mmh3 5.3.1: mmh3_32_sintdigest of the little-endian bytes.
    sequences = [[], [0], [1, -1], [2, 5, -2147483648, 9], list(range(40))]
    wanted = [0, 1669671676, 633444339, -2144419507, -583999672]
    starts = np.cumsum([0] + [len(s) for s in sequences])[:-1]
    flat = np.array([v for s in sequences for v in s], np.int64)
    assert hash_sequences(flat, starts).tolist() == wanted


def test_a_molecule_is_the_same_alone_and_in_a_batch_in_any_order():
    together = atom_ids(MOLECULES, bits=None)
    turned = atom_ids(MOLECULES[::-1], bits=None)[::-1]
    for mol, a, b in zip(MOLECULES, together, turned, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, atom_ids(mol, bits=None))


def test_processes_change_nothing():
    # So far from the origin that coordinates rounded to float32 would be those of another molecule.
    shift = Chem.Mol(ASPIRIN)
    shift.GetConformer().SetPositions(ASPIRIN.GetConformer().GetPositions() + 1e6)
    many = [*MOLECULES * 4, shift]
    for a, b in zip(fingerprint(many, workers=2), fingerprint(many), strict=True):
        assert np.array_equal(a, b)
    nameless = Chem.MolFromSmiles("CCO")
    nameless.SetProp("_Name", "record 17")
    with pytest.raises(ValueError, match="record 17 has no coordinates"):
        fingerprint([*many, nameless], workers=2)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_turning_shifting_and_renumbering_change_nothing(seed):
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))  # a rotation, no mirror
    order = rng.permutation(ASPIRIN.GetNumAtoms()).tolist()
    moved = Chem.RenumberAtoms(ASPIRIN, order)
    moved.GetConformer().SetPositions(moved.GetConformer().GetPositions() @ turn.T + rng.normal(size=3))
    assert np.array_equal(fingerprint(moved, bits=None), fingerprint(ASPIRIN, bits=None))
    assert np.array_equal(atom_ids(moved, bits=None), atom_ids(ASPIRIN, bits=None)[order])


def test_mirror_images_differ_by_stereo_alone():
    mirror = Chem.Mol(ASPIRIN)
    mirror.GetConformer().SetPositions(ASPIRIN.GetConformer().GetPositions() * np.array([1.0, 1.0, -1.0]))
    chiral = embedded("C[C@H](N)C(=O)O")
    other = Chem.Mol(chiral)
    other.GetConformer().SetPositions(chiral.GetConformer().GetPositions() * np.array([1.0, 1.0, -1.0]))
    assert not np.array_equal(fingerprint(chiral, bits=None), fingerprint(other, bits=None))
    for a, b in ((chiral, other), (ASPIRIN, mirror)):
        assert np.array_equal(
            fingerprint(a, bits=None, stereo=False), fingerprint(b, bits=None, stereo=False)
        )


def test_folding_is_the_rest_of_a_division():
    unfolded = fingerprint(ASPIRIN, bits=None)
    assert unfolded.min() >= 0
    assert unfolded.max() > 2**31
    assert fingerprint(ASPIRIN).tolist() == sorted(set((unfolded % 1024).tolist()))
    assert np.array_equal(atom_ids(ASPIRIN, bits=64) % 64, atom_ids(ASPIRIN, bits=None) % 64)


def test_odd_molecules_have_ids_too():
    empty = Chem.MolFromSmiles("")
    assert fingerprint(empty).tolist() == []
    assert atom_ids(empty).shape == (0, 6)
    salt = placed("[Na+].[Cl-]", [(0, 0, 0), (1.5, 0, 0)])
    assert fingerprint(salt).tolist() == []
    assert (atom_ids(salt) == -1).all()
    assert len(fingerprint(salt, exclude_floating=False)) == 3
    methane = placed("C", [(0, 0, 0)])
    assert len(fingerprint(methane)) == 1
    assert atom_ids(methane)[0, 1:].tolist() == [-1] * 5
    hydrogen = embedded("CCO")
    with_hydrogens = Chem.AddHs(hydrogen, addCoords=True)
    assert (atom_ids(with_hydrogens)[3:] == -1).all()
    dative = Chem.RWMol(placed("N.B", [(0, 0, 0), (1.6, 0, 0)]))
    dative.AddBond(0, 1, Chem.BondType.DATIVE)
    dative.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(dative)
    assert len(fingerprint(dative)) > 2
    assert not np.array_equal(
        fingerprint(dative, bits=None), fingerprint(placed("NB", [(0, 0, 0), (1.6, 0, 0)]), bits=None)
    )


def test_long_molecules_take_memory_in_proportion():
    def peak(atoms: int) -> int:
        chain = placed("C" * atoms, [(1.2 * k, 0.6 * (k % 2), 0.1 * k % 3) for k in range(atoms)])
        tracemalloc.start()
        fingerprint(chain)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(100)
    assert peak(1600) < 6 * peak(400)


def test_without_a_last_level_it_goes_on_until_nothing_is_new():
    assert np.array_equal(
        fingerprint(ASPIRIN, level=None, bits=None), fingerprint(ASPIRIN, level=12, bits=None)
    )
    assert np.array_equal(
        fingerprint(ASPIRIN, level=-1, bits=None), fingerprint(ASPIRIN, level=12, bits=None)
    )


def test_duplicates_take_the_id_of_the_first_over_the_same_atoms():
    plain = atom_ids(ASPIRIN, level=3, bits=4096)
    replaced = atom_ids(ASPIRIN, level=3, bits=4096, replace_duplicates=True)
    kept = set(fingerprint(ASPIRIN, level=3, bits=4096).tolist())
    assert set(replaced[replaced >= 0].tolist()) == kept
    same = np.isin(plain, sorted(kept))
    assert np.array_equal(plain[same], replaced[same])
    assert not same[plain >= 0].all()


@pytest.mark.parametrize(
    ("mol", "said"),
    [
        (Chem.MolFromSmiles("CCO"), "CCO has no coordinates: embed a conformer"),
        (placed("CC", [(0, 0, 0), (np.nan, 0, 0)]), "CC has coordinates of atom 1 that are not finite"),
        (
            Chem.MolFromSmiles("CC(C)(C)(C)C", sanitize=False),
            r"CC\(C\)\(C\)\(C\)C was read without its valences",
        ),
    ],
)
def test_what_has_no_geometry_is_refused_by_name(mol, said):
    with pytest.raises(ValueError, match=said):
        fingerprint([ASPIRIN, mol])
    mol.SetProp("_Name", "number 7")
    with pytest.raises(ValueError, match="number 7 (has|was)"):
        atom_ids(mol)


def test_what_is_no_molecule_is_refused_by_its_place():
    with pytest.raises(ValueError, match="item 1 is NoneType: give RDKit molecules"):
        atom_ids([ASPIRIN, None])
    with pytest.raises(ValueError, match="item 200 is str"):
        fingerprint([ASPIRIN] * 200 + ["CCO"], workers=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 0}, "bits=0 is out of range"),
        ({"bits": 10.5}, "bits=10.5 is out of range"),
        ({"workers": 0}, "workers=0 is out of range"),
        ({"level": -2}, "level=-2 is out of range"),
        ({"radius_multiplier": 0.0}, "radius_multiplier=0.0 is out of range"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        fingerprint(ASPIRIN, **options)
