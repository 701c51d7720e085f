"""A run that has learnt three molecules by heart places them; its answers carry coordinates into the other reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rdkit import Chem

from modalities.molecule.conformers import embed
from modalities.molecule.metrics.predictions import structure_of
from modalities.molecule.posed import in_space
from modalities.molecule.tasks.structure import place
from modalities.molecule.told import told
from recipes import eval_conformers, eval_molecule_generation, predict_molecules
from unitok.config import load
from unitok.run import Run

SMILES = ("CCO", "CC=O", "CNC")


@pytest.fixture(scope="module", params=["bins", "ids"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    records = [
        place(f"{split}/{smiles}", split, embed(Chem.MolFromSmiles(smiles)))
        for split in ("train", "heldout")
        for smiles in SMILES
    ]
    (folder / "place.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "run.toml").write_text(
        f"""
        run = "{folder / "run"}"
        vocabulary.text.use = "text.bytes"
        vocabulary.molecule = {{ use = "molecule.mol3d", write = "{request.param}", bits = 64, count = 2 }}
        model = {{ depth = 1, width = 64 }}
        train = {{ steps = 120, rows = 2, lr = 1e-2, warmup = 5, progress = false }}
        [data]
        cache = "{folder / "cache"}"
        seq_len = 128
        [data.sources.place]
        path = "place.jsonl"
        """
    )
    made = Run.of(load(folder / "run.toml", []))
    made.trainer(made.stores(), made.stores("heldout")).fit()
    return made.folder


def test_molecules_are_placed_and_measured(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, page = tmp_path / "report.json", tmp_path / "page.html"
    data = run.parent / "place.jsonl"
    options = [
        "--data",
        str(data),
        "--conformers",
        "2",
        "--budget",
        "64",
        "--out",
        str(out),
        "--html",
        str(page),
    ]
    found = eval_conformers.main([str(run), *options])
    assert json.loads(out.read_text()) == found
    assert (found["n"], found["samples"], found["conformers"]) == (3, 1, 2)
    assert found["same"] >= 1 / 3  # so short a training learns the molecules, not always which was asked for
    assert found["rmsd"] < 0.3 < found["floor"]["rmsd"]
    assert 0.5 < found["space"]["told"] <= 1
    assert found["space"]["way"] == {"bins": "bins", "ids": "e3fp64"}[run.parent.name.rstrip("0123456789")]
    assert page.read_text().count("<figcaption>right | written") == round(3 * found["same"])
    assert json.loads(capsys.readouterr().out[-len(out.read_text()) :]) == found


def test_predictions_carry_coordinates_into_the_report_of_generation(run: Path, tmp_path: Path):
    table, out = tmp_path / "rows.tsv", tmp_path / "molecules.tsv"
    table.write_text("SMILES\tdescription\n" + "".join(f"{one}\tGive its coordinates.\n" for one in SMILES))
    asked = ["--write", "molecule", "--budget", "64", "--temperature", "0.5", "--out", str(out)]
    assert predict_molecules.main([str(run), str(table), *asked]) == 3
    written = [structure_of(line.split("\t")[2]) for line in out.read_text().splitlines()[1:]]
    posed = [mol for mol in written if mol is not None and in_space(mol)]
    assert posed
    assert all(told(mol) is not None for mol in posed)
    options = ["--no-fcd", "--conformers", "2", "--space", str(run.parent / "place.jsonl")]
    found = eval_molecule_generation.main(
        ["--predictions", str(out), *options, "--out", str(tmp_path / "report.json")]
    )
    assert found["space"]["n"] == len(posed)
    assert found["space"]["floor"]["searched"] == len(posed)


def test_equal_answers_are_not_asked_for_several_times(tmp_path: Path):
    with pytest.raises(ValueError, match="--samples 2: give 1, or more with a --temperature above 0"):
        eval_conformers.main([str(tmp_path), "--data", str(tmp_path / "place.jsonl"), "--samples", "2"])


def test_without_training_records_there_is_no_floor_and_without_questions_no_report(
    run: Path, tmp_path: Path
):
    mol = embed(Chem.MolFromSmiles("CCO"))
    data = tmp_path / "some.jsonl"
    options = ["--data", str(data), "--budget", "40", "--out", str(tmp_path / "deep" / "report.json")]
    data.write_text(json.dumps(place("k", "heldout", mol)))
    assert eval_conformers.main([str(run), *options])["floor"]["rmsd"] is None
    assert (tmp_path / "deep" / "report.json").exists()
    data.write_text(json.dumps(place("k", "train", mol)))
    with pytest.raises(ValueError, match="there is no question to measure"):
        eval_conformers.main([str(run), *options])
    with pytest.raises(ValueError, match="0 conformers are out of range"):
        eval_conformers.main([str(run), *options, "--conformers", "0"])
