"""The two recipes that measure molecules and captions: what they write, and one sentence for what is wrong."""

from __future__ import annotations

import json
import sys

import pytest
from rdkit import Chem

from modalities.common import wordnet
from modalities.molecule.conformers import embed
from modalities.molecule.tasks.structure import place
from modalities.molecule.told import to_cxsmiles
from recipes import eval_molecule_captioning, eval_molecule_generation
from unitok.command import command

for package in ("nltk", "rouge_score", "tokenizers", "rapidfuzz"):
    pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet, "SOURCES", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def train(tmp_path):
    rows = [
        {"smiles": "CCN", "text": "The molecule is an amine."},
        {"smiles": "OCC", "text": "It is ethanol."},
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_captions_are_measured_and_written(tmp_path, train, capsys):
    file = tmp_path / "captions.tsv"
    file.write_text("SMILES\tground truth\toutput\nCCO\tIt is an alcohol.\t[CLS] It is an alcohol.\nCC\tx\n")
    out, page = tmp_path / "deep" / "report.json", tmp_path / "deep" / "page.html"
    found = eval_molecule_captioning.main(
        ["--predictions", str(file), "--train", str(train), "--out", str(out), "--html", str(page)]
    )
    assert json.loads(out.read_text()) == found == json.loads(capsys.readouterr().out)
    keys = ("bleu2", "bleu4", "rouge1", "rouge2", "rougeL")
    assert [found[key] for key in keys] == pytest.approx([1.0] * 5)
    assert found["meteor"] is None
    assert found["meteor_reason"]
    assert (found["n"], found["bad_rows"], found["train"]["shared"]) == (1, 1, 1)
    assert "It is an alcohol." in page.read_text()


def test_molecules_are_measured_and_written(tmp_path, train):
    file = tmp_path / "molecules.tsv"
    file.write_text("description\tground truth\toutput\nan alcohol\tCCO\tOCC\nan acid\tCC(=O)O\tCC(\n")
    out, page = tmp_path / "report.json", tmp_path / "page.html"
    options = ["--predictions", str(file), "--out", str(out), "--html", str(page), "--rows", "1", "--no-fcd"]
    found = eval_molecule_generation.main([*options, "--train", str(train)])
    assert json.loads(out.read_text()) == found
    assert (found["exact"], found["validity"], found["n"]) == (0.5, 0.5, 2)
    assert (found["novelty"], found["stereo_free"]["exact"]) == (0, 1)
    assert {"bleu", "levenshtein", "maccs", "rdk", "morgan"} <= set(found) & set(found["stereo_free"])
    assert "fcd" not in found
    assert page.read_text().count("data:image/png") == 2


def test_coordinates_are_measured_against_conformers_and_the_floor(tmp_path):
    ethanol, acid, amine = (to_cxsmiles(embed(Chem.MolFromSmiles(one))) for one in ("CCO", "CC(=O)O", "CCN"))
    file, space = tmp_path / "molecules.tsv", tmp_path / "place.jsonl"
    file.write_text(
        f"description\tground truth\toutput\nan alcohol\tCCO\t{ethanol}\nan acid\t{acid}\tCC(=O)O\n"
    )
    space.write_text(json.dumps(place("k", "train", Chem.MolFromSmiles(amine))))
    options = ["--predictions", str(file), "--no-fcd", "--conformers", "2", "--space", str(space)]
    found = eval_molecule_generation.main([*options, "--out", str(tmp_path / "report.json")])
    assert found["exact"] == 1
    assert (found["space"]["n"], found["space"]["written"], found["space"]["conformers"]) == (1, 0.5, 2)
    assert found["space"]["reference"]["lengths"] == found["space"]["lengths"] == 1
    assert found["space"]["floor"]["searched"] == 1


@pytest.mark.parametrize("main", [eval_molecule_captioning.main, eval_molecule_generation.main])
def test_a_mistake_ends_in_one_sentence(main, tmp_path, monkeypatch, capsys):
    (tmp_path / "odd.tsv").write_text("SMILES\toutput\nC\tx\n")
    monkeypatch.setattr(sys, "argv", ["recipe", "--predictions", str(tmp_path / "odd.tsv")])
    with pytest.raises(SystemExit) as ended:
        command(main)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'odd.tsv'} has the columns SMILES, output and none called")


@pytest.mark.parametrize("main", [eval_molecule_captioning.main, eval_molecule_generation.main])
def test_a_negative_number_of_rows_is_refused(main, tmp_path):
    with pytest.raises(ValueError, match="--rows -1"):
        main(["--predictions", str(tmp_path / "none.tsv"), "--rows", "-1"])


@pytest.mark.parametrize("main", [eval_molecule_captioning.main, eval_molecule_generation.main])
def test_names_that_cannot_be_written_are_refused_before_anything_is_read(main, tmp_path):
    options = ["--predictions", str(tmp_path / "none.tsv"), "--out", str(tmp_path)]
    with pytest.raises(ValueError, match="is a folder: name a file in it"):
        main(options)
    same = str(tmp_path / "report")
    with pytest.raises(ValueError, match="--out and --html are both"):
        main([*options[:2], "--out", same, "--html", same])


def test_rows_that_are_no_molecules_count_and_none_ends_the_run(tmp_path):
    odd = [
        "C1CC",
        "",
        "C" * 1500,
        "\u2014O",
        "*CC",
        "[CH3:1]C",
        "C>>O",
        "N->[Fe]",
        "CO |(0,0,1)|",
        "[H]",
        '"CC"',
    ]
    file = tmp_path / "molecules.tsv"
    rows = [f"one\tCCO\t{one}" for one in odd]
    file.write_text("\n".join(["description\tground truth\toutput", *rows, "short\tC", "long\tC\tC\tC", ""]))
    options = ["--predictions", str(file), "--no-fcd", "--conformers", "1", "--out", str(tmp_path / "r.json")]
    found = eval_molecule_generation.main([*options, "--html", str(tmp_path / "p.html")])
    assert (found["n"], found["bad_rows"], found["exact"]) == (len(odd), 2, 0)
    assert found["validity"] == pytest.approx(6 / len(odd))  # the chain, *CC, the mapped, the dative, CO, [H]


@pytest.mark.parametrize("main", [eval_molecule_captioning.main, eval_molecule_generation.main])
def test_help_says_what_the_file_holds(main, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "ground truth" in said
    assert "--train" in said
