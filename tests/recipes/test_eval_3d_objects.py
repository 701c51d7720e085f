"""`recipes/eval_3d_objects.py` on a run with random weights: what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from untrained import leave

from recipes import eval_3d_objects


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for n, kind in enumerate(("chair", "chair", "lamp", "chair", "lamp", "lamp")):
        points = np.random.default_rng(n).normal(size=(64, 3)).astype(np.float32)
        np.savez(folder / f"{n}.npz", points=points)
        side = "train" if n < 3 else "heldout"
        for task, said in (("class", kind), ("completion", kind), ("caption", f"A {kind}, tall.")):
            name = "none.npz" if n == 5 and task == "class" else f"{n}.npz"
            content = [{"cloud": {"file": name}}, {"text": " What is this?"}]
            turns = [{"role": "user", "content": content}, {"role": "assistant", "content": said}]
            rows.append({"key": f"{task}/{n}", "split": side, "kind": task, "turns": turns})
    (folder / "objects.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    leave(folder, "objects")
    return folder


def test_objects_are_named_and_described(run, tmp_path, capsys):
    out = tmp_path / "deep" / "objects.json"
    data = run / "torn.jsonl"
    halved = {
        "key": "class/9",
        "split": "heldout",
        "kind": "class",
        "turns": [{"role": "user", "content": "What?"}],
    }
    data.write_text((run / "objects.jsonl").read_text() + "{torn\n" + json.dumps(halved) + "\n")
    arguments = [str(run), "--data", str(data), "--budget", "8", "--out", str(out)]
    found = eval_3d_objects.main(arguments)
    report = json.loads(out.read_text())
    assert report["figures"] == found
    assert "not judged by GPT" in report["judge"]
    assert set(found["class"]) == {"likelihood", "label in answer", "commonest", "chance"}
    assert found["class"]["likelihood"]["n"] == 2  # one has no file
    assert found["class"]["likelihood"]["no_label"] == 0
    assert found["class"]["commonest"]["right"] == 0.5
    assert found["class"]["chance"] == {"right": 0.5}
    assert set(found["caption"]) == {"model", "random"}
    assert found["caption"]["random"]["bleu1"] > 0.5
    assert set(found["completion"]) == set(found["class"])
    assert [row["key"] for row in report["answers"] if row["kind"] != "completion"] == [
        "class/3",
        "class/4",
        "caption/3",
        "caption/4",
        "caption/5",
    ]
    said = capsys.readouterr().out
    assert "there is no file" in said
    assert len(report["problems"]) == 3
    assert "torn.jsonl" in report["problems"][0]
    assert any("turns that end with the assistant's" in one for one in report["problems"])
    assert "not judged by GPT" in said
    again = eval_3d_objects.main(arguments)
    assert again == found


def test_a_side_without_records_is_refused(run, tmp_path):
    lines = (run / "objects.jsonl").read_text().splitlines()
    path = run / "few.jsonl"
    path.write_text("\n".join(line for line in lines if '"train"' in line))
    with pytest.raises(ValueError, match="3 training and 0 other records"):
        eval_3d_objects.main([str(run), "--data", str(path), "--out", str(tmp_path / "o.json")])


def test_records_of_which_none_can_be_asked_are_refused(run, tmp_path):
    path = run / "lost.jsonl"
    rows = [json.loads(line) for line in (run / "objects.jsonl").read_text().splitlines()]
    for row in rows:
        if row["split"] != "train":
            row["turns"][0]["content"][0] = {"cloud": {"file": "none.npz"}}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        ValueError, match="no held-out record of kind 'class' can be asked .*there is no file"
    ):
        eval_3d_objects.main([str(run), "--data", str(path), "--out", str(tmp_path / "o.json")])
