"""`tools/make_conformers.py`: every kind of file, coordinates that are given, and failures with their reasons."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import zstandard
from rdkit import Chem

from modalities.molecule.conformers import Conformers, Params, embed
from tools import make_conformers

SMILES = ["CCO", "F/C=C\\F", "c1ccccc1"]


def run(path: Path, *more: str) -> list[list[str]]:
    """The rows of failures.tsv."""
    make_conformers.main([str(path), "--out", str(path.parent / "out"), "--workers", "1", *more])
    head, *rows = (path.parent / "out" / "failures.tsv").read_text().splitlines()
    assert head == "record\tsmiles\treason"
    return [row.split("\t") for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "more"),
    [
        ("a.smi", "CCO ethanol\n\nF/C=C\\F\nc1ccccc1\n", ()),
        ("a.tsv", 'CID\tSMILES\tdescription\n1\tCCO\tit "is\n2\tF/C=C\\\\F\tso\n3\tc1ccccc1\t\n', ()),
        ("a.csv", 'name,Smiles\n"a,b",CCO\nb,F/C=C\\F\nc,c1ccccc1\n', ()),
        ("a.jsonl", '{"mol": "CCO"}\n{"mol": "F/C=C\\\\F"}\n{"mol": "c1ccccc1"}\n', ("--column", "mol")),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_every_kind_of_file(tmp_path: Path, name: str, text: str, more: tuple[str, ...], packed: str):
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packed]
    (tmp_path / (name + packed)).write_bytes(pack(text.encode()))
    assert run(tmp_path / (name + packed), *more) == []
    known = Conformers(tmp_path / "out")
    assert len(known.store) == 3
    for smiles in SMILES:
        wanted = embed(Chem.MolFromSmiles(smiles)).GetConformer().GetPositions()
        assert np.array_equal(known.one(smiles).GetConformer().GetPositions(), wanted)


def test_coordinates_of_an_sdf_are_kept_and_what_has_none_is_searched_for(tmp_path: Path):
    posed = embed(Chem.MolFromSmiles("CCO"), Params(seed=4))
    flat = Chem.MolFromSmiles("CCN")
    Chem.rdDepictor.Compute2DCoords(flat)
    endless = embed(Chem.MolFromSmiles("CCCl"))
    endless.GetConformer().SetPositions(np.full((3, 3), 1.0))
    blocks = [Chem.MolToMolBlock(mol) for mol in (Chem.AddHs(posed, addCoords=True), flat, endless)]
    blocks[2] = blocks[2].replace("1.0000", "   nan")
    (tmp_path / "a.sdf").write_text("$$$$\n".join([*blocks, "x\n\n\nbroken\n", ""]))
    rows = run(tmp_path / "a.sdf")
    assert [row[0] for row in rows][-1] == "4"
    assert rows[-1][2] == "the MOL block is damaged: RDKit cannot read it"
    kept = Conformers(tmp_path / "out").one("CCO").GetConformer().GetPositions()
    assert np.allclose(kept, posed.GetConformer().GetPositions(), atol=1e-4)
    assert Conformers(tmp_path / "out").store.read(["CCN"])["CCN"].positions.shape == (3, 3)


def test_failures_are_listed_by_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(make_conformers, "AT_ONCE", 2)
    (tmp_path / "a.smi").write_text(f"CCO\nC1CC\nCCO\n{'C' * 60}\nCCN\n")
    rows = run(tmp_path / "a.smi", "--attempts", "1", "--iterations", "5")
    assert [row[:2] for row in rows] == [["2", "C1CC"], ["4", "C" * 60]]
    assert "not SMILES" in rows[0][2]
    assert "after 1 attempts (5 iterations)" in rows[1][2]
    assert "5 molecules, 3 with a conformer" in capsys.readouterr().out
    assert len(Conformers(tmp_path / "out", Params(attempts=1, iterations=5)).store) == 3


def test_mistakes(tmp_path: Path):
    cases = {
        "a.xyz": ("", "is of no known kind: give .smi"),
        "a.csv": ("name,mol\na,C\n", "has the columns name, mol and none called 'smiles'"),
        "a.smi.zst": ("CCO\n", "no .zst file or a damaged one"),
        "a.smi": ("\n\n", "has no record"),
    }
    for name, (text, wanted) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises((ValueError, OSError), match=wanted):
            run(tmp_path / name)


def test_a_bad_record_is_listed_and_the_rest_goes_on(tmp_path: Path):
    broken = embed(Chem.MolFromSmiles("CCF"))
    broken.GetConformer().SetPositions(np.zeros((3, 3)))
    good = Chem.MolToMolBlock(embed(Chem.MolFromSmiles("CCO")))
    cases = {
        "a.smi": (b"CCO\nCC\xff\n\xe2\x80\x94O\nC>>O\nCCN\n", ["2", "3", "4"]),
        "a.csv": (b'smiles,y\nCCO,1\n"C1\nCC",1\nCC\n"CC"C,2\nC\xff,3\nCCN,4\n', ["2", "3", "4", "5"]),
        "a.jsonl": (b'{"smiles": 3}\n{\n{"smiles": "CCO"}\n', ["1", "2"]),
        "a.sdf": ("$$$$\n".join([good, Chem.MolToMolBlock(broken), "x\n", good]).encode(), ["2", "3"]),
    }
    for name, (data, wanted) in cases.items():
        (tmp_path / name).write_bytes(data)
        rows = run(tmp_path / name)
        assert [row[0] for row in rows] == wanted, name
        assert all(len(row) == 3 and row[2] for row in rows)
    assert "bonded and 0.00 Angstrom apart" in rows[0][2]
