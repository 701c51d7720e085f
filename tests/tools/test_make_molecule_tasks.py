"""From tables to records: what each source gives, what is left out, and that a molecule stays on one side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from modalities.molecule.conformers import embed
from tools import make_molecule_tasks as tool

CAPTIONS = """CID\tSMILES\tdescription
1\tC/C=C\\\\C\tThe molecule is 2-butene.
2\tCCO\tThe molecule is an alcohol.
3\tCCCO\tThe molecule is an alcohol, too.
4\tc1ccccc1\tThe molecule is an arene.
5\tnonsense\tIt is nothing.
"""


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> dict[str, list[dict]]:
    monkeypatch.setattr("sys.argv", ["tool", str(out), *arguments])
    tool.main()
    return {
        p.stem: [json.loads(line) for line in p.read_text().splitlines()] for p in sorted(out.glob("*.jsonl"))
    }


def test_captions_give_four_tasks_without_the_excluded(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "captions.txt").write_text(CAPTIONS)
    (tmp_path / "test.txt").write_text("CID\tSMILES\tdescription\n9\tOCC\tIt is ethanol.\n")
    files = run(
        monkeypatch, tmp_path / "out", "--captions", str(tmp_path / "captions.txt"),
        "--exclude", str(tmp_path / "test.txt"), "--heldout", "0",
    )  # fmt: skip
    assert set(files) >= {"caption", "molecule", "molecule_like"}
    assert len(files["caption"]) == len(files["molecule"]) == 3
    texts = json.dumps(files)
    assert 'CCO"' not in texts.replace("CCCO", "")
    assert "nonsense" not in texts
    assert {"molecule": "C/C=C\\C"} in [p for r in files["molecule"] for p in r["turns"][1]["content"]]
    said = capsys.readouterr().out
    assert "1 left out: also in --exclude" in said
    assert "1 left out: rows that cannot be used" in said
    left = (tmp_path / "out" / "left_out.tsv").read_text().splitlines()
    assert left[0] == "key\treason"
    assert left[1].startswith("captions.txt/4\t'nonsense' is not SMILES")


def test_a_molecule_is_on_one_side_in_all_tasks(tmp_path: Path, monkeypatch):
    smiles = [f"{'C' * n}{end}" for n in range(1, 30) for end in ("O", "N", "F")]
    (tmp_path / "list.smi").write_text("\n".join(smiles) + "\n")
    files = run(monkeypatch, tmp_path / "out", "--structures", str(tmp_path / "list.smi"), "--heldout", "0.3")
    sides = {r["key"]: r["split"] for r in files["computed"]}
    assert 10 < sum(side == "heldout" for side in sides.values()) < 45
    assert all(sides[r["key"]] == r["split"] for r in files["denoise"])


def test_columns_are_numbers_or_classes(tmp_path: Path, monkeypatch):
    (tmp_path / "a.csv").write_text("name,smiles,logS,toxic\nx,CCO,-0.771,1\ny,CC,,0\n")
    files = run(
        monkeypatch, tmp_path / "out", "--table", f"{tmp_path}/a.csv:logS:solubility (logS)", f"{tmp_path}/a.csv:toxic"
    )  # fmt: skip
    answers = [(r["kind"], r["turns"][1]["content"][0]["text"]) for r in files["table"]]
    assert answers == [("solubility (logS)", "-0.77"), ("toxic", "yes"), ("toxic", "no")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--heldout", "1"], "--heldout 1.0 is out of range"),
        (["--table", "a.csv"], "names no column"),
        (["--captions", "bad.txt"], "has the columns A, B and none called 'SMILES'"),
        (["--each", "-1"], "--each -1 is out of range: 0 and up"),
        (["--most", "0"], "--most 0 is out of range: 1 and up"),
        ([], "there is nothing to make tasks from"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_text("A\tB\n1\t2\n")
    with pytest.raises(ValueError, match=said):
        run(monkeypatch, tmp_path / "out", *arguments)


def test_smiles_get_conformers_and_captions_several_examples(tmp_path: Path, monkeypatch):
    (tmp_path / "list.smi").write_text("CCO\nCC(C)CO\nnonsense\n")
    (tmp_path / "captions.txt").write_text(CAPTIONS)
    files = run(
        monkeypatch, tmp_path / "out", "--space", str(tmp_path / "list.smi"), "--captions",
        str(tmp_path / "captions.txt"), "--examples", "2", "--heldout", "0",
    )  # fmt: skip
    assert len(files["place"]) == len(files["seen"]) == 2
    shown = [p["molecule"] for r in files["space"] for p in r["turns"][0]["content"] if "molecule" in p]
    assert shown
    assert all("|(" in one for one in shown)  # CXSMILES with coordinates
    beside = [r["key"] for r in files["caption_like"]]
    assert len(beside) == len(set(beside)) > len(files["caption"])
    asked = [r["turns"][0]["content"][0]["text"].removesuffix(" Repeat.") for r in files["echo"]]
    assert asked == [r["turns"][1]["content"][0]["text"] for r in files["echo"]]
    assert asked[0].split()[0] in CAPTIONS.split()


def left_out(folder: Path) -> dict[str, str]:
    rows = (folder / "left_out.tsv").read_text().splitlines()[1:]
    return dict(row.split("\t") for row in rows)


def test_rows_that_cannot_be_used_say_why_and_the_rest_goes_on(tmp_path: Path, monkeypatch):
    posed = Chem.MolToMolBlock(embed(Chem.MolFromSmiles("CCO")))
    nowhere = embed(Chem.MolFromSmiles("CCN"))
    nowhere.GetConformer().SetPositions(np.zeros((3, 3)))
    flat = Chem.MolFromSmiles("CCF")
    Chem.rdDepictor.Compute2DCoords(flat)
    blocks = [posed, "x\n", Chem.MolToMolBlock(nowhere), Chem.MolToMolBlock(flat), posed]
    cases = {
        "--structures": (
            b"CCO\nC\xff\n\nC(C)(C)(C)(C)C\n*CC*\nCC>>C\n[13CH4]\nCCN\n", 2,
            {"a/1": "not UTF-8", "a/3": "valence", "a/4": "has no InChI", "a/5": "a reaction", "a/6": "alphabet"},
        ),
        "--qm9": (
            b"smiles,homo,lumo,gap\nCCO,-0.2,0.1,0.3\nCCN,x,0.1,0.3\nCC,nan,0.1,0.3\nC,0.1,inf,0.3\nCCC,,1,1\nO,1,2\n", 3,
            {"a/1": "homo is no number", "a/2": "homo", "a/3": "lumo", "a/4": "homo", "a/5": "3 columns"},
        ),
        "--captions": (
            b"SMILES\tdescription\nCCO\tan alcohol\nCCN\t\nCC\n\tnothing\nC>>O\ta reaction\n", 1,
            {"a/1": "description is empty", "a/2": "1 columns", "a/3": "is empty", "a/4": "is a reaction"},
        ),
        "--space": (
            "$$$$\n".join(blocks).encode(), 2,
            {"a.sdf/1": "is damaged", "a.sdf/2": "0.00 Angstrom apart", "a.sdf/3": "it is flat"},
        ),
    }  # fmt: skip
    task = {"--structures": "computed", "--qm9": "orbitals", "--captions": "caption", "--space": "place"}
    for option, (data, count, wanted) in cases.items():
        name = "a.sdf" if option == "--space" else "a"
        (tmp_path / name).write_bytes(data)
        out = tmp_path / option.strip("-")
        files = run(monkeypatch, out, option, str(tmp_path / name))
        left = left_out(out)
        assert left.keys() == wanted.keys(), option
        assert all(said in left[key] for key, said in wanted.items()), (option, left)
        assert len(files.get(task[option], [])) == count
        assert "nan" not in json.dumps(files)


def test_cells_that_are_no_number_are_left_out_and_a_drive_letter_is_no_column(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("smiles\ty\nCCO\t1.5\nCCN\tabc\nCC\tinf\nC\t\nO\tNaN\n")
    files = run(monkeypatch, tmp_path / "out", "--table", "a.csv:y")
    assert [r["turns"][1]["content"][0]["text"] for r in files["table"]] == ["1.50"]
    assert left_out(tmp_path / "out") == {
        "a.csv/y/1": "line 3: y is 'abc', which is no number",
        "a.csv/y/2": "line 4: y is 'inf', which is no number",
    }
    with pytest.raises(FileNotFoundError, match=r"C:\\a.csv|C:.{1,2}a.csv"):
        run(monkeypatch, tmp_path / "out", "--table", "C:\\a.csv:y")


def test_rows_of_the_excluded_that_are_no_molecule_are_told(tmp_path: Path, monkeypatch):
    (tmp_path / "a.smi").write_text("CCO\nCCN\n")
    (tmp_path / "b.smi").write_text("OCC\nC1CC\n")
    files = run(
        monkeypatch, tmp_path / "out", "--structures", f"{tmp_path}/a.smi", "--exclude", f"{tmp_path}/b.smi"
    )
    assert [r["key"] for r in files["computed"]] == ["a.smi/1"]
    assert left_out(tmp_path / "out")["b.smi/1"].startswith("not excluded: 'C1CC' is not SMILES")
