"""From a run to predictions, to their figures: both directions, rows that cannot be asked kept and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modalities.common import wordnet
from modalities.molecule.tasks.text import caption, molecule
from recipes import (
    eval_molecule_captioning,
    eval_molecule_generation,
    eval_property,
    predict_molecules,
    vote_captions,
    vote_molecules,
)
from unitok.config import load
from unitok.run import Run

ROWS = {
    "CCO": "The molecule is ethanol.",
    "CC(=O)O": "The molecule is acetic acid.",
    "C": "The molecule is methane.",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("molecules")
    records = [
        make(f"k/{n}", split, smiles, said)
        for split in ("train", "heldout")
        for make in (caption, molecule)
        for n, (smiles, said) in enumerate(ROWS.items())
    ]
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps(r | {"key": f"{r['split']}/{r['kind']}/{r['key']}"}) + "\n" for r in records)
    )
    (folder / "run.toml").write_text(
        f"""
        run = "{folder / "run"}"
        [vocabulary]
        text = {{ use = "text.bytes" }}
        molecule = {{ use = "molecule.selfies" }}
        [model]
        depth = 1
        width = 32
        [train]
        steps = 1
        rows = 2
        warmup = 0
        progress = false
        [data]
        cache = "{folder / "cache"}"
        seq_len = 128
        [data.sources.rows]
        path = "rows.jsonl"
        """
    )
    made = Run.of(load(folder / "run.toml", []))
    made.trainer(made.stores(), made.stores("heldout")).fit()
    return made.folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.txt"
    lines = [
        f"{n}\t{smiles}\t{said}"
        for n, (smiles, said) in enumerate([*ROWS.items(), ("[39Ar]", "It is argon.")])
    ]
    path.write_text("CID\tSMILES\tdescription\n" + "\n".join(lines) + "\n")
    return path


def test_descriptions_are_written_and_measured(run: Path, table: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(
        wordnet, "folder", lambda root: (_ for _ in ()).throw(wordnet.NoWordNet("not looked for"))
    )
    out = tmp_path / "captions.tsv"
    assert (
        predict_molecules.main([str(run), str(table), "--write", "text", "--budget", "12", "--out", str(out)])
        == 3
    )
    assert "symbol [39Ar] is not in the alphabet" in capsys.readouterr().out
    lines = out.read_text().splitlines()
    assert lines[0] == "SMILES\tground truth\toutput"
    assert [line.split("\t")[:2] for line in lines[1:4]] == [[a, b] for a, b in ROWS.items()]
    report = eval_molecule_captioning.main(["--predictions", str(out), "--out", str(tmp_path / "r.json")])
    assert report["n"] == 4
    assert report["meteor"] is None


def test_molecules_are_written_and_all_are_valid(run: Path, table: Path, tmp_path: Path):
    out = tmp_path / "molecules.tsv"
    assert (
        predict_molecules.main(
            [str(run), str(table), "--write", "molecule", "--budget", "12", "--out", str(out)]
        )
        == 4
    )
    report = eval_molecule_generation.main(
        ["--predictions", str(out), "--no-fcd", "--out", str(tmp_path / "r.json")]
    )
    assert report["validity"] == 1.0


def test_held_out_records_have_figures_by_kind(run: Path, tmp_path: Path):
    rows = run.parent / "rows.jsonl"
    figures = eval_property.main(
        [str(run), "--data", str(rows), "--budget", "12", "--out", str(tmp_path / "r.json")]
    )
    assert figures["caption"]["n"] == figures["molecule"]["n"] == 3
    assert set(figures["caption"]) == {"n", "right", "commonest"}
    assert 0 <= figures["molecule"]["tanimoto"] <= 1
    assert len(json.loads((tmp_path / "r.json").read_text())["answers"]) == 6


def test_records_that_cannot_be_compared_are_counted_and_the_rest_is_asked(run: Path, tmp_path: Path, capsys):
    good = caption("good", "heldout", "CCO", "It is ethanol.")
    turns = good["turns"]
    rows = [
        json.dumps(good),
        "no json",
        json.dumps(good | {"turns": turns[:1]}),
        json.dumps(good | {"turns": [turns[0], {"role": "assistant", "content": [{"protein": "MK"}]}]}),
        json.dumps(good | {"turns": [turns[0], {"role": "assistant", "content": [{"text": 5}]}]}),
        json.dumps(molecule("m", "heldout", "C1CC", "It is nothing.")),
    ]
    data, out = tmp_path / "rows.jsonl", tmp_path / "deep" / "r.json"
    data.write_text("\n".join(rows) + "\n")
    figures = eval_property.main([str(run), "--data", str(data), "--budget", "8", "--out", str(out)])
    assert {kind: one["n"] for kind, one in figures.items()} == {"caption": 1}
    bad = json.loads(out.read_text())["bad"]
    for said, words in zip(
        bad, ("JSON", "turns that end", "'protein'", "give a string", "C1CC"), strict=True
    ):
        assert "rows.jsonl:" in said
        assert words in said
    assert "5 records cannot be asked" in capsys.readouterr().out
    with pytest.raises(ValueError, match="most=0 is out of range"):
        eval_property.main([str(run), "--data", str(data), "--most", "0", "--out", str(out)])
    data.write_text(rows[2])
    with pytest.raises(ValueError, match="no record whose split is not train .1 cannot be read, the first"):
        eval_property.main([str(run), "--data", str(data), "--out", str(out)])


def test_tabs_and_line_ends_of_a_description_begin_no_row(run: Path, tmp_path: Path, capsys):
    rows = [{"smiles": "CCO", "text": "It is\tethanol.\nReally."}, {"smiles": 3, "text": ""}]
    table, out = tmp_path / "rows.jsonl", tmp_path / "deep" / "out.tsv"
    table.write_text("\n".join(map(json.dumps, rows)))
    options = [str(run), str(table), "--budget", "8", "--out", str(out)]
    assert predict_molecules.main([*options, "--write", "text"]) == 1
    assert "line 2: no object with the strings" in capsys.readouterr().out
    assert out.read_text().splitlines()[1].split("\t")[:2] == ["CCO", "It is ethanol. Really."]
    with pytest.raises(ValueError, match="--most 0 is out of range"):
        predict_molecules.main([*options, "--write", "text", "--most", "0"])


@pytest.mark.parametrize("write", ["text", "molecule"])
def test_a_question_may_stand_beside_the_most_similar_row(run: Path, table: Path, tmp_path: Path, write: str):
    plain, beside = tmp_path / "plain.tsv", tmp_path / "beside.tsv"
    base = [str(run), str(table), "--write", write, "--budget", "8", "--most", "3"]
    predict_molecules.main([*base, "--out", str(plain)])
    assert predict_molecules.main([*base, "--like", str(table), "--out", str(beside)]) == 3
    assert len(beside.read_text().splitlines()) == len(plain.read_text().splitlines()) == 4


def test_a_vote_takes_a_neighbours_description_or_an_own_one(run: Path, table: Path, tmp_path: Path):
    train = tmp_path / "train.txt"
    train.write_text("CID\tSMILES\tdescription\n1\tCCCO\tIt is propanol.\n2\tCCCCO\tIt is butanol.\n")
    own, out = tmp_path / "own.tsv", tmp_path / "voted.tsv"
    rows = [f"{smiles}\t{said}\tIt is propanol, too." for smiles, said in ROWS.items()]
    own.write_text("\n".join(["SMILES\tground truth\toutput", *rows, "[39Ar]\tIt is argon.\t"]) + "\n")
    given = [str(run), str(own), "--like", str(train), "--out", str(out)]
    said = ["It is propanol.", "It is propanol, too.", "It is butanol."]
    vote_captions.main([*given, "--own", "100", "--trust", "1000"])
    first = [line.split("\t")[2] for line in out.read_text().splitlines()[1:]]
    assert first == [said[1]] * 3 + [
        ""
    ]  # nothing is like methane or argon, and argon has no answer of its own
    assert vote_captions.main([*given, "--own", "0.001", "--trust", "1000"]) == 2
    second = [line.split("\t")[2] for line in out.read_text().splitlines()[1:]]
    assert second[0] == said[0]
    assert second[2:] == [said[1], ""]
    rows[0] = rows[1]
    (tmp_path / "other.tsv").write_text("\n".join(["SMILES\tground truth\toutput", *rows, "C\tx\t"]) + "\n")
    with pytest.raises(ValueError, match="not about the same molecules"):
        vote_captions.main([str(run), str(own), str(tmp_path / "other.tsv"), "--like", str(train)])


def test_a_vote_takes_the_molecule_that_is_most_like_the_neighbours(table: Path, tmp_path: Path):
    train = tmp_path / "train.txt"
    train.write_text("CID\tSMILES\tdescription\n1\tCCCO\tThe molecule is propanol.\n2\tCCO\tIt is ethanol.\n")
    head = "description\tground truth\toutput"
    files = []
    for name, outputs in {"a": ("CCF", "", ""), "b": ("CCCCO", "C", "")}.items():
        rows = [f"{said}\t{smiles}\t{out}" for (smiles, said), out in zip(ROWS.items(), outputs, strict=True)]
        (tmp_path / f"{name}.tsv").write_text("\n".join([head, *rows]) + "\n")
        files.append(str(tmp_path / f"{name}.tsv"))
    out = tmp_path / "voted.tsv"
    assert vote_molecules.main([*files, "--like", str(train), "--out", str(out)]) == 2
    assert [line.split("\t")[2] for line in out.read_text().splitlines()[1:]] == ["CCCCO", "C", ""]
    (tmp_path / "c.tsv").write_text(f"{head}\nIt is argon.\t[39Ar]\tC\n")
    with pytest.raises(ValueError, match="not about the same descriptions"):
        vote_molecules.main([files[0], str(tmp_path / "c.tsv"), "--like", str(train)])
