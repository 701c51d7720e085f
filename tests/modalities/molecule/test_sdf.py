"""SDF records one by one: each that cannot be read says why, and none is lost."""

from __future__ import annotations

from rdkit import Chem

from modalities.molecule.conformers import embed
from modalities.molecule.posed import in_space
from modalities.molecule.sdf import structures

POSED = Chem.MolToMolBlock(Chem.AddHs(embed(Chem.MolFromSmiles("CCO")), addCoords=True))
FLAT = Chem.MolFromSmiles("CC=O")
Chem.rdDepictor.Compute2DCoords(FLAT)
FLAT = Chem.MolToMolBlock(FLAT)
VALENCE = Chem.MolToMolBlock(Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False), kekulize=False)
NOTHING = "\n  x\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n"


def read(tmp_path, *blocks: str | bytes, ends: bytes = b"\n"):
    data = b"".join((b if isinstance(b, bytes) else b.encode()) + b"$$$$\n" for b in blocks)
    path = tmp_path / "a.sdf"
    path.write_bytes(data.replace(b"\n", ends))
    return list(structures(path))


def test_every_record_is_there_or_says_why(tmp_path):
    broken = POSED.replace("V2000", "V9000")
    latin = POSED.replace("RDKit", "R\xe9dit").encode("latin1")
    found = read(tmp_path, POSED, "no record\n", FLAT, VALENCE, NOTHING, latin, POSED + POSED, broken, POSED)
    assert [one.number for one in found] == list(range(1, 10))
    assert [one.number for one in found if one.mol] == [1, 3, 9]
    for number, said in (
        (2, "is damaged"), (4, "Explicit valence for atom # 0 C, 5"), (5, "has no atoms"), (6, "byte 8 is not UTF-8"),
        (7, "holds two structures"), (8, "is damaged"),
    ):  # fmt: skip
        assert said in found[number - 1].reason
    assert [in_space(one.mol) for one in found if one.mol] == [True, False, True]
    assert [one.mol.GetNumAtoms() for one in found if one.mol] == [3, 3, 3]


def test_windows_line_ends_data_fields_and_a_last_record_without_an_end(tmp_path):
    field = POSED + "> <note>\n$$$$ is the end\n\n"
    assert [one.mol is not None for one in read(tmp_path, field, FLAT, ends=b"\r\n")] == [True, True]
    (tmp_path / "b.sdf").write_text("\ufeff" + POSED + "$$$$\n" + FLAT)
    assert [one.mol is not None for one in structures(tmp_path / "b.sdf")] == [True, True]
    (tmp_path / "c.sdf").write_text("")
    assert list(structures(tmp_path / "c.sdf")) == []
