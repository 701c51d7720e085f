"""Conformers: the same whoever asks and however, kept through kills and two writers, and every failure told."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from modalities.molecule import conformer_pool, conformer_store, etkdg
from modalities.molecule.conformer_store import FILE, Row, Store
from modalities.molecule.conformers import Conformers, Params, embed, several

ROOT = Path(__file__).parents[3]
SOME = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](N)C(=O)O",
    "C#CC#C",
    "[Na+].[Cl-]",
    "CCO",
    "C1CC1",
    "[2H]O",
    "F/C=C/F",
]
MANY = [*SOME, *("C" * n + "O" for n in range(2, 14)), *(f"C1CC1{'C' * n}N" for n in range(1, 8))]


def where(mol: Chem.Mol) -> np.ndarray:
    return np.asarray(mol.GetConformer().GetPositions())


def equal(a: list[Chem.Mol | None], b: list[Chem.Mol | None]) -> bool:
    return all(
        (x is None) == (y is None) and (x is None or np.array_equal(where(x), where(y)))
        for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Chem.Mol | None]]:
    folder = tmp_path_factory.mktemp("made")
    mols, failures = Conformers(folder).get(MANY)
    assert not failures
    return folder, mols


def test_a_molecule_has_one_conformer_however_it_is_written():
    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)Oc1ccccc1")
    alone = where(embed(mol))
    for text in Chem.MolToRandomSmilesVect(mol, 5, randomSeed=1):
        other = Chem.MolFromSmiles(text)
        match = other.GetSubstructMatch(mol, useChirality=True)
        apart = [
            np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (alone, where(embed(other))[list(match)])
        ]
        # Equal atoms (the ring's two sides) may change places, which this sum does not see.
        assert np.allclose(np.sort(apart[0].ravel()), np.sort(apart[1].ravel()), atol=1e-6)
    with_hydrogens = embed(Chem.AddHs(mol))
    assert with_hydrogens.GetNumAtoms() == mol.GetNumAtoms()
    assert np.array_equal(where(with_hydrogens), alone)


def test_stereo_is_that_of_the_smiles():
    for smiles in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "F/C=C/F", "F/C=C\\F", "C[C@]12C[C@H]1CNC2"):
        mol = embed(Chem.MolFromSmiles(smiles))
        assert mol.GetConformer().Is3D()
        bare = Chem.Mol(mol)
        Chem.RemoveStereochemistry(bare)
        Chem.AssignStereochemistryFrom3D(bare)
        assert Chem.MolToSmiles(bare) == Chem.MolToSmiles(Chem.MolFromSmiles(smiles))


def test_coordinates_that_are_there_are_used():
    mol = embed(Chem.MolFromSmiles("CCO"))
    mol.GetConformer().SetPositions(where(mol) * 1.05)
    assert np.array_equal(where(embed(mol)), where(mol))
    (again,), failures = Conformers().get([mol])
    assert not failures
    assert np.array_equal(where(again), where(mol))
    layout = Chem.MolFromSmiles("CCO")
    Chem.rdDepictor.Compute2DCoords(layout)
    assert embed(layout).GetConformer().Is3D()


def test_fragments_lie_beside_one_another_with_opposite_charges_near():
    mol = embed(Chem.MolFromSmiles("C[NH+](C)CCCCC(=O)[O-].[Na+].[Cl-]"))
    apart = np.linalg.norm(where(mol)[:, None] - where(mol)[None], axis=-1)
    whose = {
        atom.GetSymbol() + "+-"[atom.GetFormalCharge() < 0]: atom.GetIdx()
        for atom in mol.GetAtoms()
        if atom.GetFormalCharge()
    }
    parts = Chem.GetMolFrags(mol)
    assert min(apart[a, b] for p in parts for q in parts if p != q for a in p for b in q) >= 2.49
    assert apart[whose["Na+"], whose["O-"]] < apart[whose["Na+"], whose["N+"]]
    one = embed(Chem.MolFromSmiles("CCO"))
    assert np.abs(where(one)).max() < 5


def test_relaxed_and_other_seeds_are_others():
    mol = Chem.MolFromSmiles("CCCCO")
    plain = where(embed(mol))
    for params in (Params(relax=True), Params(seed=2)):
        other = where(embed(mol, params))
        assert np.isfinite(other).all()
        assert not np.allclose(other, plain)
        assert params.key != Params().key
    assert Params(seconds=5).key == Params().key


def test_several():
    mol = several(Chem.MolFromSmiles("CCCCCO"), 5)
    assert [one.GetId() for one in mol.GetConformers()] == [0, 1, 2, 3, 4]
    assert all(one.Is3D() for one in mol.GetConformers())
    assert np.array_equal(where(mol), where(several(Chem.MolFromSmiles("OCCCCC"), 5))[::-1])
    assert not np.allclose(mol.GetConformer(0).GetPositions(), mol.GetConformer(1).GetPositions())
    with pytest.raises(ValueError, match="count=0 is out of range"):
        several(mol, 0)


def test_random_coordinates_help_where_distance_geometry_fails():
    long = "C" * 60
    with pytest.raises(
        ValueError, match=r"CCCC.* has no conformer after 1 attempts .30 iterations.: leave it out"
    ):
        embed(Chem.MolFromSmiles(long), Params(attempts=1))
    assert embed(Chem.MolFromSmiles(long)).GetNumAtoms() == 60


def test_kept_ones_are_the_fresh_ones(
    made: tuple[Path, list[Chem.Mol | None]], monkeypatch: pytest.MonkeyPatch
):
    folder, mols = made
    assert equal(mols, [embed(Chem.MolFromSmiles(smiles)) for smiles in MANY])
    monkeypatch.setattr(conformer_pool, "search", None)  # nothing is searched for again
    again, failures = pickle.loads(pickle.dumps(Conformers(folder))).get(MANY[::-1])
    assert not failures
    assert equal(again, mols[::-1])
    reordered, _ = Conformers(folder).get(["OC(=O)c1c(OC(C)=O)cccc1"])
    assert Chem.MolToSmiles(reordered[0]) == Chem.MolToSmiles(mols[0])
    assert len(Conformers(folder).store) == len(set(MANY))


def test_any_number_of_workers_gives_the_same(tmp_path: Path, made: tuple[Path, list[Chem.Mol | None]]):
    mols, failures = Conformers(tmp_path).get(MANY, workers=2, progress=True)
    assert not failures
    assert equal(mols, made[1])
    with pytest.raises(ValueError, match="workers=0 is out of range"):
        Conformers().get(MANY, workers=0)


def test_failures_are_listed_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = ["CCO", "C1CC", "C" * 60, "CCO", "", "CC(C)(C)(C)C"]
    params = Params(attempts=1)
    mols, failures = Conformers(tmp_path, params).get(items)
    assert [mol is None for mol in mols] == [False, True, True, False, True, True]
    assert [one.place for one in failures] == [1, 2, 4, 5]
    assert "not SMILES" in failures[0].reason
    assert failures[1].smiles == items[2]
    assert "after 1 attempts" in failures[1].reason
    assert equal([mols[0]], [mols[3]])
    monkeypatch.setattr(conformer_pool, "search", None)
    assert Conformers(tmp_path, params).get(items)[1] == failures
    assert Conformers(tmp_path, params).prepare(items) == failures
    with pytest.raises(ValueError, match="not SMILES"):
        Conformers(tmp_path, params).one("C1CC")


def test_a_search_that_ran_out_of_time_is_made_again_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def late(smiles: str, count: int, params: Params) -> list[np.ndarray]:
        raise etkdg.NoConformer(f"{smiles}: over", params.seconds)

    monkeypatch.setattr(conformer_pool, "search", late)
    assert Conformers(tmp_path, Params(seconds=5)).get(["CCO"])[1][0].reason == "CCO: over"
    monkeypatch.setattr(conformer_pool, "search", etkdg.search)
    assert Conformers(tmp_path, Params(seconds=5)).get(["CCO"])[1]
    assert not Conformers(tmp_path, Params(seconds=6)).get(["CCO"])[1]
    assert not Conformers(tmp_path, Params(seconds=5)).get(["CCO"])[1]


def test_a_search_ends_in_time_and_says_so():
    chain = "N[C@@H](CCSC)C(=O)" * 40 + "O"  # 320 atoms: one embedding takes longer than a second
    start = time.monotonic()
    with pytest.raises(
        etkdg.NoConformer, match=r"^CSC.*\.\.\. has no conformer after 1 attempts .1 s were over."
    ) as caught:
        etkdg.search(Chem.CanonSmiles(chain), 1, Params(attempts=1, seconds=1))
    assert caught.value.seconds == 1
    assert time.monotonic() - start < 60


def test_what_is_no_molecule_is_listed_with_its_place():
    raw = Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False)
    mols, failures = Conformers().get(["CCO", None, "C1CC", raw, "", "CCN"])
    assert [mol is None for mol in mols] == [False, True, True, True, True, False]
    assert [one.place for one in failures] == [1, 2, 3, 4]
    for one, said in zip(
        failures, ("NoneType is no", "is not SMILES", "Explicit valence", "is empty"), strict=True
    ):
        assert said in one.reason


def test_what_is_too_large_is_refused_at_once():
    with pytest.raises(
        ValueError, match=r"CCC\.\.\. has no conformer \(1202 atoms with hydrogens, at most 1000\)"
    ):
        etkdg.search("C" * 400, 1, Params())


def test_given_coordinates_can_be_kept(tmp_path: Path):
    mol = embed(Chem.MolFromSmiles("OCC"), Params(seed=9))
    Conformers(tmp_path).keep([mol])
    assert np.allclose(where(Conformers(tmp_path).one("OCC")), where(mol), atol=1e-6)
    assert np.allclose(where(Conformers(tmp_path).one("CCO")), where(mol)[::-1], atol=1e-6)
    with pytest.raises(ValueError, match="CCO has no 3D coordinates"):
        Conformers(tmp_path).keep([Chem.MolFromSmiles("CCO")])


def test_parameters_out_of_range():
    for name in ("seed", "attempts", "iterations", "seconds"):
        with pytest.raises(ValueError, match=f"{name}=0 is out of range"):
            Params(**{name: 0})


def test_two_writers_lose_nothing(tmp_path: Path):
    def write(who: int) -> None:
        for n in range(20):
            rows = {f"{who}-{n}-{k}": Row(np.full((k, 3), n, np.float32)) for k in range(1, 4)}
            Store(tmp_path, "p").add({**rows, "both": Row(None, "none")})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert len(Store(tmp_path, "p")) == 2 * 20 * 3 + 1
    found = Store(tmp_path, "p").read(["1-19-2", "both", "neither"])
    assert sorted(found) == ["1-19-2", "both"]
    assert found["1-19-2"].positions.tolist() == [[19, 19, 19]] * 2
    assert found["both"] == (None, "none", 0)
    assert Store(tmp_path, "q").read(["both"]) == {}
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / FILE).touch()  # as a writer leaves it that was killed before its first row
    assert Store(tmp_path / "new", "p").read(["both"]) == {}
    assert len(Store(tmp_path / "new", "p")) == 0


def test_a_transaction_that_breaks_off_leaves_nothing(tmp_path: Path):
    store = Store(tmp_path, "p")
    store.add({"a": Row(None, "none")})
    with pytest.raises(OSError, match="cannot be used"):
        store.add({"b": Row(None, "none"), "c": Row(None, [])})  # type: ignore[arg-type]
    assert sorted(store.read(["a", "b", "c"])) == ["a"]


KILLED = """
import sys
from modalities.molecule.conformers import Conformers
if __name__ == "__main__":
    Conformers(sys.argv[1]).get(["C" * n + "O" + "C" * m for n in range(1, 25) for m in range(1, 25)], workers={workers})
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_writer_that_is_killed_leaves_what_it_had(tmp_path: Path, workers: int):
    script = tmp_path / "writer.py"
    script.write_text(KILLED.format(workers=workers))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script, tmp_path], env=environment, start_new_session=True)
    store = Store(tmp_path, Params().key)
    try:
        deadline = time.monotonic() + 120
        while len(store) < 30 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    had = len(store)
    assert had >= 30
    mols, failures = Conformers(tmp_path).get(["CCCCO", "COC"])
    assert not failures
    assert all(mol is not None for mol in mols)
    deadline = time.monotonic() + 20
    while _group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group(process.pid), "workers outlived their parent"


def _group(leader: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


def test_a_worker_that_dies_costs_one_molecule(tmp_path: Path):
    script = tmp_path / "dies.py"
    script.write_text(
        "import os, sys\n"
        "from modalities.molecule import conformer_pool, etkdg\n"
        "def search(smiles, count, params):\n"
        "    if smiles == 'CCO':\n"
        "        os._exit(9)\n"
        "    return etkdg.search(smiles, count, params)\n"
        "conformer_pool.search = search  # in the workers too: spawn runs this file again\n"
        "if __name__ == '__main__':\n"
        "    from modalities.molecule.conformers import Conformers\n"
        "    mols, failures = Conformers().get(['C' * n + 'O' for n in range(1, 25)], workers=2)\n"
        "    print(sum(mol is not None for mol in mols), *(one.reason for one in failures))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "23 CCO ended the process that searched for its conformer: leave it out\n"


def test_a_script_without_a_guard_is_told_and_no_molecule_is_blamed(tmp_path: Path):
    script = tmp_path / "bare.py"
    script.write_text(
        "from modalities.molecule.conformers import Conformers\n"
        f"Conformers({str(tmp_path)!r}).get(['C' * n + 'O' for n in range(1, 25)], workers=2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].startswith(
        "RuntimeError: no process can be started: call from a file"
    )
    assert len(Store(tmp_path, Params().key)) == 0


def test_a_file_that_is_damaged_is_named(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(
        OSError, match=r"conformers.sqlite cannot be used .* make it again, or name another folder"
    ):
        Conformers(tmp_path).get(["CCO"])
    with pytest.raises(ValueError, match="is a file: name a folder to keep conformers in"):
        Conformers(tmp_path / FILE)


def test_a_row_that_is_damaged_is_named(tmp_path: Path):
    Conformers(tmp_path).one("CCO")
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE conformers SET positions = x'00ff'")
    with pytest.raises(
        OSError, match=r"conformers.sqlite cannot be used .* make it again, or name another folder"
    ):
        Conformers(tmp_path).one("CCO")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conformer_store, "IN_MEMORY", 3)
    store = Store(None, "p")
    for n in range(5):
        store.add({str(n): Row(None, "none")})
    assert sorted(store.read([str(n) for n in range(5)])) == ["2", "3", "4"]
    assert len(store) == 3
