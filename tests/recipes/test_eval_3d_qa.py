"""`recipes/eval_3d_qa.py`: figures beside blind ones, the page, a run that answers, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from untrained import leave

from modalities.common import wordnet
from recipes import eval_3d_qa
from unitok.command import command
from unitok.data.sources import Record, read
from unitok.eval.qa3d import ask
from unitok.eval.qa3d.ask import prefaced
from unitok.generate import Sampler
from unitok.run import reopen


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet, "SOURCES", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = [
        {
            "scene_id": f"room{n // 2}",
            "question_id": f"q{n}",
            "question": "What is <it>?",
            "answers": [answer],
        }
        for n, answer in enumerate(("chair", "lamp", "chair", "bed"))
    ]
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with random weights, and records for all questions but the last, of which one cannot be encoded."""
    folder = tmp_path / "run"
    folder.mkdir()
    np.savez(folder / "a.npz", points=np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
    for n in range(3):
        content = [
            {"text": "at 1 2:"},
            {"cloud": {"file": "a.npz" if n < 2 else "none.npz"}},
            {"text": " What?"},
        ]
        turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "chair"}]
        with (folder / "rooms.jsonl").open("a") as file:
            file.write(json.dumps({"key": f"q{n}", "turns": turns}) + "\n")
    leave(folder, "rooms")
    return folder


def test_predictions_are_scored_beside_what_sees_nothing(tmp_path, questions, capsys):
    given = tmp_path / "pred.json"
    rows = [{"scene_id": "room0", "question_id": f"q{n}", "answer_top10": ["chair", "bed"]} for n in (0, 1)]
    given.write_text(json.dumps([*rows, {"question_id": "q9", "answer_top10": ["x"]}]))
    out, html = tmp_path / "deep" / "report.json", tmp_path / "deep" / "page.html"
    arguments = ["--format", "scanqa", "--questions", str(questions), "--predictions", str(given)]
    found = eval_3d_qa.main([*arguments, "--out", str(out), "--html", str(html), "--rows", "3"])
    assert json.loads(out.read_text()) == found
    wanted = {"em1", "em10", "f1", "bleu1", "bleu4", "meteor", "rougeL", "cider", "n", "by_type", "blind", "majority", "refined_em"}  # fmt: skip
    assert wanted <= set(found)
    assert (found["n"], found["em1"], found["em10"]) == (4, 0.25, 0.25)
    assert (found["answered"], found["missing"], found["problems"]) == (2, 2, 1)
    assert (found["f1"], found["meteor"]) == (None, None)
    assert "wordnet-base" in found["f1_reason"]
    assert found["meteor_reason"]
    assert (
        found["majority"]["em1"] == found["blind"]["by_type"]["em1"] == 0.5
    )  # chair is the other room's first
    said = capsys.readouterr().out
    assert "blind, nearest question" in said
    assert "2 questions without an answer" in said
    assert "there is no question 'q9'" in said
    page = html.read_text()
    assert page.count("<td>room") == 3
    assert "What is &lt;it&gt;?" in page
    assert "no answer" in page


def test_training_questions_take_the_place_of_the_other_scenes(tmp_path, questions):
    train = tmp_path / "train.json"
    row = {"scene_id": "t", "question_id": "t0", "question": "What is it?", "answers": ["lamp"]}
    train.write_text(json.dumps([row, {**row, "question_id": "t1", "answers": [3]}]))
    given = tmp_path / "pred.json"
    half = {"question_id": "q1", "answer_top10": ["\ud800"]}
    given.write_text(json.dumps([{"question_id": "q0", "answer_top10": ["bed"]}, half]))
    arguments = ["--format", "scanqa", "--questions", str(questions), "--predictions", str(given)]
    found = eval_3d_qa.main([*arguments, "--train", str(train), "--out", str(tmp_path / "r.json")])
    assert found["majority"]["em1"] == found["blind"]["nearest"]["em1"] == 0.25
    assert found["fitted_on"] == "training questions"
    assert found["first_problems"] == [
        "train.json, record 1: its 'answers' is [3] and not a list of texts; left out",
        "pred.json, record 1: its 'answer_top10' is ['\\ud800']: half a character (a lone surrogate) is no text; left out",
    ]
    with pytest.raises(FileNotFoundError):
        eval_3d_qa.main([*arguments[:-1], str(tmp_path / "mistyped" / "p.json")])
    assert not (tmp_path / "mistyped").exists()  # what is only read makes no folder


def test_a_run_answers_and_its_submission_is_scored(tmp_path, questions, run):
    given = tmp_path / "new" / "pred.json"
    arguments = ["--format", "scanqa", "--questions", str(questions), "--predictions", str(given)]
    asked = ["--run", str(run), "--data", str(run / "rooms.jsonl"), "--draws", "3", "--budget", "8"]
    found = eval_3d_qa.main([*arguments, *asked, "--out", str(tmp_path / "r.json")])
    rows = json.loads(given.read_text())
    assert sorted(row["question_id"] for row in rows) == ["q0", "q1"]
    assert all(len(row["answer_top10"]) == 4 for row in rows)
    assert (found["answered"], found["missing"], found["problems"]) == (2, 2, 2)
    assert "there is no file" in found["first_problems"][1]
    assert (
        "scene 'room1': 1 questions, the first 'q3', have no record in rooms.jsonl" in found["first_problems"]
    )
    again = tmp_path / "again.json"
    arguments[-1] = str(again)
    eval_3d_qa.main([*arguments, *asked, "--out", str(tmp_path / "r.json")])
    assert again.read_text() == given.read_text()


def test_what_is_asked_first_is_answered_once_and_read(tmp_path, questions, run, monkeypatch):
    run_of, decoder = reopen(run)
    sampler = Sampler(decoder.eval(), run_of.vocabulary, run_of.modalities)
    rows = [row for row in read(run / "rooms.jsonl") if isinstance(row, Record)]
    one, _, lost = prefaced(sampler, rows, "What is there?")
    scene, said, asked, answer = one.fields["turns"]
    assert scene["content"][-1] == {"text": " What is there?"}
    assert scene["content"][:2] == rows[0].fields["turns"][0]["content"][:2]
    assert (said["role"], asked["content"], answer["content"]) == ("assistant", "What?", "chair")
    assert said["content"]
    assert lost == rows[2]  # its cloud cannot be read
    alone = rows[0]._replace(fields={"turns": [{"role": "user", "content": "What?"}, answer]})
    with pytest.raises(ValueError, match="is not a scene with a question behind it"):
        prefaced(sampler, [alone], "What is there?")
    given = tmp_path / "pred.json"
    arguments = ["--format", "scanqa", "--questions", str(questions), "--predictions", str(given)]
    arguments += ["--run", str(run), "--data", str(run / "rooms.jsonl"), "--draws", "0", "--budget", "8"]
    calls = []
    once = prefaced
    monkeypatch.setattr(ask, "prefaced", lambda *given: calls.append(given) or once(*given))
    found = eval_3d_qa.main([*arguments, "--out", str(tmp_path / "r.json"), "--first", "What is there?"])
    assert found["answered"] == 2
    assert len(calls) == 1  # asked twice, the scene would be described twice


def test_questions_without_answers_get_a_submission_alone(tmp_path, questions, run):
    rows = json.loads(questions.read_text())
    questions.write_text(json.dumps([{k: v for k, v in row.items() if k != "answers"} for row in rows]))
    given = tmp_path / "pred.json"
    arguments = ["--format", "scanqa", "--questions", str(questions), "--predictions", str(given)]
    arguments += ["--run", str(run), "--data", str(run / "rooms.jsonl"), "--draws", "0", "--budget", "4"]
    found = eval_3d_qa.main([*arguments, "--no-score"])
    assert len(found["problems"]) == 2
    assert [len(row["answer_top10"]) for row in json.loads(given.read_text())] == [1, 1]
    with pytest.raises(ValueError, match="has no question with an answer"):
        eval_3d_qa.main(arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run", "none"], "--run and --data belong together"),
        (["--run", "{run}", "--data", "{run}/rooms.jsonl", "--draws", "10"], "10 draws: give 0 to 9"),
        (["--run", "none", "--data", "{run}/rooms.jsonl"], "it is no finished run"),
        (["--run", "{run}", "--data", "{run}/other.jsonl"], "no record of .* has a question's id as its key"),
        (["--annotations", "{run}/rooms.jsonl"], "drop --annotations"),
        (["--train-annotations", "{run}/rooms.jsonl"], "--train-annotations need --train"),
        (["--rows", "-1"], "--rows -1 must be 0 or more"),
        (["--out", "{run}"], "is a folder: name a file"),
        (["--out", "{run}/../questions.json"], "is --questions, too: name another file"),
        (["--html", "{run}/../p.json"], "is --predictions, too: name another file"),
    ],
)
def test_mistakes_are_said_in_one_sentence(tmp_path, questions, run, arguments, said, capsys):
    (run / "other.jsonl").write_text("{}\n")
    given = ["--format", "scanqa", "--questions", str(questions), "--predictions", str(tmp_path / "p.json")]
    with pytest.raises(SystemExit) as stop:
        command(lambda: eval_3d_qa.main([*given, *(one.format(run=run) for one in arguments)]))
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]

    assert re.search(said, line)
