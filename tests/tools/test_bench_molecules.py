"""`tools/bench_molecules.py`: what is compared with what, with a stand-in for the package that is not installed here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rdkit import Chem

from modalities.molecule.conformers import embed
from modalities.molecule.shells import shells
from tools import bench_molecules as tool

MOLECULES = [embed(Chem.MolFromSmiles(one)) for one in ("CCO", "c1ccccc1O", "C[C@H](N)C(=O)O")]


def unfolded(mol, settings):
    (found,) = shells([mol], settings)
    return sorted(set((found.ids[found.accepted] & 0xFFFFFFFF).tolist()))


def test_without_the_package_only_the_own_speed_is_measured(monkeypatch):
    monkeypatch.setattr(tool, "installed", lambda: False)
    found = tool.compared(MOLECULES, tool.FORMS["default"], 2)
    assert found.keys() == {"molecules", "ours molecules/s"}
    assert found["molecules"] == 3


def test_with_it_equal_and_other_fingerprints_are_told_apart(monkeypatch):
    monkeypatch.setattr(tool, "installed", lambda: True)
    monkeypatch.setattr(tool, "theirs", unfolded)
    same = tool.compared(MOLECULES, tool.FORMS["3dmolt5"], 1)
    assert (same["molecules that differ"], same["e3fp fails on"]) == (0, 0)
    assert same["identifiers"] == sum(len(unfolded(mol, tool.FORMS["3dmolt5"])) for mol in MOLECULES)
    assert same["ratio"] > 0

    def other(mol, settings):
        return None if mol is MOLECULES[0] else unfolded(mol, settings)[mol is MOLECULES[1] :]

    found = tool.compared(MOLECULES, tool.FORMS["default"], 1)
    assert found["molecules that differ"] == 0
    monkeypatch.setattr(tool, "theirs", other)
    found = tool.compared(MOLECULES, tool.FORMS["default"], 1)
    assert (found["molecules that differ"], found["e3fp fails on"]) == (1, 1)


def test_files_and_mistakes(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "installed", lambda: True)
    monkeypatch.setattr(tool, "theirs", unfolded)
    flat = Chem.MolFromSmiles("CCN")
    Chem.rdDepictor.Compute2DCoords(flat)
    blocks = [
        Chem.MolToMolBlock(MOLECULES[0]),
        "x\n",
        Chem.MolToMolBlock(flat),
        Chem.MolToMolBlock(MOLECULES[1]),
    ]
    (tmp_path / "a.sdf").write_text("$$$$\n".join(blocks))
    (tmp_path / "a.smi").write_text("CCO ethanol\nC1CC\nCCN\n")
    for name, count in (("a.sdf", 2), ("a.smi", 2)):
        out = tmp_path / "out.json"
        found = tool.main([str(tmp_path / name), "--repeats", "1", "--out", str(out)])
        assert found["default"]["molecules"] == found["3dmolt5"]["molecules"] == count
        assert json.loads(out.read_text()) == found
    (tmp_path / "b.sdf").write_text("x\n$$$$\n")
    with pytest.raises(ValueError, match="has no molecule with coordinates among its first 300 records"):
        tool.main([str(tmp_path / "b.sdf")])
    with pytest.raises(ValueError, match="--count 0 --repeats 3 are out of range"):
        tool.main([str(tmp_path / "a.smi"), "--count", "0"])
    monkeypatch.setattr(tool, "installed", lambda: False)
    with pytest.raises(ImportError, match="there is no e3fp package"):
        tool.main([str(tmp_path / "a.smi")])
    assert np.isfinite(found["default"]["ratio"])
