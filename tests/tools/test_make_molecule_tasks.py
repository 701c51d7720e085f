"""From tables to records: what each source gives, what is left out, and that a molecule stays on one side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    assert "1 left out: no molecule" in said


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
        (["--captions", "bad.txt"], "there is no column 'SMILES' among A"),
        (["--structures", "binary.smi"], "byte 1 is not UTF-8"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_text("A\tB\n1\t2\n")
    Path("binary.smi").write_bytes(b"C\xff\n")
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
