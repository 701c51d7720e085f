"""Molecules with geometry: what symbols are told, what is written, and that every prefix decodes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from modalities.molecule.e3fp import atom_ids
from modalities.molecule.mol3d import CHANNEL, Mol3D
from modalities.molecule.posed import canonical_order, in_space, placed
from modalities.molecule.view3d import draw3d
from unitok import Codes, Vocabulary, create
from unitok.grammar import Grammar
from unitok.modality import BadCodes, BadItem
from unitok.testing import conforms

BINS = Mol3D()


def embedded(smiles: str, seed: int = 7) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=seed) == 0
    return mol


ASPIRIN = embedded("CC(=O)Oc1ccccc1C(=O)O")
ALANINE = embedded("C[C@H](N)C(=O)O")


@pytest.mark.parametrize(
    "options",
    [{}, {"write": "none"}, {"write": "ids", "levels": 1, "bits": 64, "count": 3}, {"compat": "3dmolt5"}],
)
def test_it_keeps_the_contract(options):
    modality = Mol3D(**options)
    conforms(modality, [ASPIRIN, "CCO", ALANINE, "[Na+].[Cl-]"], rebuild=lambda: Mol3D(**options))


def test_symbols_know_the_shells_of_their_atoms():
    [codes] = BINS.encode([ASPIRIN])
    bare = Chem.RemoveHs(ASPIRIN)
    ids = atom_ids(bare, level=2, rdkit_invariants=True)[canonical_order(bare)]
    wanted = np.where(ids < 0, -1, ids + 1024 * np.arange(3))
    rows = codes.side[CHANNEL]
    assert rows.shape == (len(codes), 3)
    assert np.array_equal(rows[(rows >= 0).any(1)].numpy(), wanted)
    for one, row in zip(codes.ids.tolist(), rows.tolist(), strict=True):
        name = BINS.plain.symbols[one] if one < BINS.mark else "geometry"
        if row != [-1, -1, -1]:
            assert name.strip("[]=#") in ("C", "O")
        else:
            assert name.strip("[]=#") not in ("C", "O") or name in (
                "[C]",
                "[=C]",
                "[O]",
            )  # a digit of a length


def test_geometry_is_written_and_comes_back():
    for mol in (ASPIRIN, ALANINE):
        [codes] = BINS.encode([mol])
        bare = Chem.RemoveHs(mol)
        at = codes.ids.tolist().index(BINS.mark)
        assert len(codes) == at + 1 + 3 * bare.GetNumAtoms()
        [back] = BINS.decode([codes])
        found = BINS.compare(mol, back)
        assert found["exact"] == 1.0
        assert found["rmsd"] < 0.15


def test_without_coordinates_it_is_selfies():
    [codes] = BINS.encode(["CC(=O)Oc1ccccc1C(=O)O"])
    assert codes.ids.equal(BINS.plain.encode(["CC(=O)Oc1ccccc1C(=O)O"])[0].ids)
    assert (codes.side[CHANNEL] == -1).all()
    assert BINS.decode([codes]) == ["CC(=O)Oc1ccccc1C(=O)O"]


def test_every_prefix_of_an_atom_decodes_and_keeps_what_it_says():
    [codes] = BINS.encode([ASPIRIN])
    at = codes.ids.tolist().index(BINS.mark)
    whole = BINS.decode([codes])[0].GetConformer().GetPositions()
    for atoms in (0, 1, 3, 8):
        [item] = BINS.decode([Codes(codes.ids[: at + 1 + 3 * atoms])])
        assert BINS.label(item) == "CC(=O)Oc1ccccc1C(=O)O"
        assert (not isinstance(item, str) and in_space(item)) == (atoms > 0)
        if atoms > 2:
            x = item.GetConformer().GetPositions()[:atoms]
            near = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (x, whole[:atoms])]
            assert np.abs(near[0] - near[1]).max() < 0.5


def test_ids_choose_the_conformer_that_they_were_made_of():
    modality = Mol3D(write="ids", levels=2, count=6)
    from modalities.molecule.conformers import several

    mol = several(Chem.MolFromSmiles("OCCCCCN"), 6)
    for one in (1, 4):
        posed = placed(mol, mol.GetConformer(one).GetPositions())
        [back] = modality.decode(modality.encode([posed]))
        assert modality.compare(posed, back)["rmsd"] < 0.05


def test_conformers_are_made_where_asked():
    [codes] = Mol3D(embed=True).encode(["CCO"])
    assert (codes.side[CHANNEL] >= 0).any()
    assert BINS.mark not in codes.ids.tolist()  # they are told, not written


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_grammar_lets_through_is_a_molecule(seed):
    rng = random.Random(seed)
    vocabulary = Vocabulary.build({"molecule": BINS})
    assert Grammar.document(vocabulary, {"molecule": BINS}) is not None
    ids: list[int] = []
    while len(ids) < 90:
        legal = BINS.legal(ids)
        if not legal.ranges or (legal.end and len(ids) > 60):
            break
        if BINS.mark not in ids and len(ids) > 12 and legal.end:
            ids.append(BINS.mark)
            continue
        chosen = rng.choice(legal.ranges)
        ids.append(rng.choice(chosen))
    while not BINS.legal(ids).end:
        ids.append(BINS.legal(ids).ranges[0][0])
    [item] = BINS.decode([Codes(torch.tensor(ids))])
    assert Chem.MolFromSmiles(BINS.label(item)) is not None


def test_what_is_out_of_place_is_refused():
    [codes] = BINS.encode([ALANINE])
    ids, at = codes.ids.tolist(), codes.ids.tolist().index(BINS.mark)
    for wrong, said in (
        (ids[:-1], "17 codes of geometry for 6 atoms"),
        ([*ids, *ids[-3:]], "21 codes of geometry for 6 atoms"),
        ([*ids[: at + 1], ids[at + 2], ids[at + 2], ids[at + 3]], "out of place"),
        ([*ids[: at + 1], 0, ids[at + 2], ids[at + 3]], "out of place"),
    ):
        with pytest.raises(BadCodes, match=said):
            BINS.decode([Codes(torch.tensor(wrong))])
    lost = placed(Chem.MolFromSmiles("CO"), np.array([[0, 0, 0], [np.nan, 0, 0]]))
    with pytest.raises(BadItem, match="atom 1 are not finite"):
        BINS.encode(["CC", lost])
    for text in ("CO |(0,0,1)|", "CO |(0,0,1;1,0,1;2,0,1)|"):
        with pytest.raises(BadItem, match=r"CO has 2 atoms and [13] coordinates"):
            BINS.encode([text])
    for text in ("CO |(0,0,1;1,0)|", "CO |(0,0,1;a,b,c)|", "CO\t|(0,0,1;1)|", "CO |$a(b);c$,(0,0,1;1,0)|"):
        with pytest.raises(BadItem, match=r"CO has the coordinates \([^)]*\): give three numbers"):
            BINS.encode([text])
    for write in ("none", "bins", "ids"):
        with pytest.raises(BadItem, match="item 1: atoms 0 and 1 are bonded and 0.00 Angstrom apart"):
            Mol3D(write=write).encode(["CC", placed(Chem.MolFromSmiles("CO"), np.zeros((2, 3)))])
    assert BINS.mark not in BINS.encode(["CO |(0,0;1,0)|"])[0].ids.tolist()  # flat
    with pytest.raises(ValueError, match="write='xyz' is not known"):
        Mol3D(write="xyz")
    with pytest.raises(ValueError, match="count=0 is out of range"):
        Mol3D(write="ids", count=0)
    with pytest.raises(ValueError, match="levels=0 is too low to write"):
        Mol3D(write="ids", levels=0)


def test_files_and_strings_with_coordinates_are_in_space(tmp_path):
    BINS.save(ASPIRIN, tmp_path / "a.sdf")
    text = Chem.MolToCXSmiles(Chem.RemoveHs(ASPIRIN))
    assert "|" in text
    first, second = BINS.encode([BINS.load(tmp_path / "a.sdf"), text])
    assert BINS.mark in first.ids.tolist()
    assert first.ids[:20].equal(second.ids[:20])


def test_a_picture_shows_the_drawing_and_the_view_in_space():
    flat, both = BINS.show(Chem.MolToSmiles(Chem.RemoveHs(ASPIRIN))), BINS.show(ASPIRIN)
    assert (flat.size, both.size) == ((256, 256), (512, 256))
    drawn, seen = both.crop((0, 0, 256, 256)), both.crop((256, 0, 512, 256))
    assert drawn.tobytes() != seen.tobytes() == draw3d(ASPIRIN).tobytes()
    assert drawn.getextrema() != ((255, 255),) * 3


def test_coordinates_in_a_smi_file_are_read():
    item = BINS.read(b"CO\t|(0,0,1;1.4,0,1)| wood alcohol\n", ".smi")
    [codes] = BINS.encode([item])
    assert BINS.compare(item, BINS.decode([codes])[0])["rmsd"] < 0.02


def test_a_ring_may_join_what_was_opened_as_two_fragments():
    symbols = ["[C]", "[N]", "[O]", ".", "[S]", "[S]", "[Ring1]", "[N]"]  # closes onto the first fragment
    ids = [BINS.plain.symbols.index(one) for one in symbols]
    assert Chem.GetMolFrags(BINS.mol("".join(symbols))) == ((0, 1, 2, 3, 4),)
    for atoms in range(1, 6):
        geometry = [offset + 20 for _ in range(atoms) for offset in BINS._offsets]
        [item] = BINS.decode([Codes(torch.tensor([*ids, BINS.mark, *geometry]))])
        assert BINS.label(item) == BINS.plain.label("".join(symbols))
    assert in_space(item)


def test_it_is_in_the_catalogue():
    assert create("molecule.mol3d", levels=1).spec.side[CHANNEL].width == 2
