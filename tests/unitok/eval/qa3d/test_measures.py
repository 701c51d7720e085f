"""Measures against noted figures of the official scripts on ScanQA's validation split, and by hand on small sets."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
from held import held

from unitok.eval.qa3d import blind, formats, measures
from unitok.eval.qa3d import meteor as program
from unitok.eval.qa3d.clean import clean, match
from unitok.eval.qa3d.formats import Question

WITH_TREEBANK = {"bleu1": 0.526668, "bleu2": 0.511653, "bleu3": 0.504537, "bleu4": 0.501765, "rougeL": 0.525613, "cider": 1.676600}  # fmt: skip
WITH_SPACES = {"bleu1": 0.526825, "bleu2": 0.511840, "bleu3": 0.504785, "bleu4": 0.502126, "rougeL": 0.525629, "cider": 1.676344}  # fmt: skip
METEOR = 0.345987


def lemma(word: str) -> str:
    return word.removesuffix("s")


@pytest.fixture(scope="module")
def scanqa():
    """The split, and for every other question another question's answer."""
    questions, problems = formats.read("scanqa", held("pointcloud", "qa/ScanQA_v1.0_val.json"))
    assert (len(questions), problems) == (4675, [])
    chosen = [i if i % 2 == 0 else 7 * i % len(questions) for i in range(len(questions))]
    return questions, {one.id: [questions[at].answers[0]] for one, at in zip(questions, chosen, strict=True)}


@pytest.mark.parametrize(("split", "noted"), [(measures.treebank, WITH_TREEBANK), (str.split, WITH_SPACES)])
def test_scanqa_as_pycocoevalcap_has_it(scanqa, split, noted):
    found = measures.scores(*scanqa, lemma, split)
    assert {name: found[name] for name in noted} == pytest.approx(noted, abs=2e-6)


def test_scanqas_types_and_blind_floor(scanqa):
    questions, _ = scanqa
    found = measures.scores(questions, blind.by_type(questions), None)
    assert found["em1"] == pytest.approx(0.0924, abs=5e-5)
    assert found["em10"] == pytest.approx(0.353, abs=5e-4)
    assert found["f1"] is None
    assert sum(one["n"] for one in found["by_type"].values()) == 4675
    assert set(found["by_type"]) == {"Place", "Number", "Color", "Object nature", "Object", "Other"}


@pytest.mark.slow
@pytest.mark.parametrize("split", [measures.treebank, str.split])
def test_any_answers_score_as_pycocoevalcap_scores_them(scanqa, split):
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu", reason="pycocoevalcap is not installed")
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    questions, _ = scanqa
    answers = blind.nearest(questions)
    wanted = {one.id: [" ".join(split(text)) for text in one.answers] for one in questions}
    given = {one.id: [" ".join(split(answers[one.id][0]))] for one in questions}
    noted = dict(
        zip(("bleu1", "bleu2", "bleu3", "bleu4"), bleu.Bleu(4).compute_score(wanted, given)[0], strict=True)
    )
    noted |= {
        "rougeL": Rouge().compute_score(wanted, given)[0],
        "cider": Cider().compute_score(wanted, given)[0],
    }
    found = measures.scores(questions, answers, None, split)
    assert {name: found[name] for name in noted} == pytest.approx(noted, abs=1e-6)


@pytest.mark.slow
def test_meteor_as_pycocoevalcap_has_it(scanqa):
    if shutil.which("java") is None or importlib.util.find_spec("pycocoevalcap") is None:
        pytest.skip("there is no java or no pycocoevalcap")
    value, reason = measures.meteor_of(*scanqa)
    assert reason is None
    assert value == pytest.approx(METEOR, abs=1e-6)


def test_meteor_without_java_or_jar_is_none_with_the_reason(monkeypatch):
    monkeypatch.setattr(program.shutil, "which", lambda name: None)
    value, reason = program.meteor([["a"]], [[["a"]]])
    assert value is None
    assert "no java" in reason
    monkeypatch.setattr(program.shutil, "which", lambda name: "java")
    monkeypatch.setattr(program.importlib.util, "find_spec", lambda name: None)
    value, reason = program.meteor([["a"]], [[["a"]]])
    assert value is None
    assert "pip install pycocoevalcap" in reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("cat >/dev/null; echo broken >&2; exit 1", "failed (broken)"),
        ("sleep 5", "failed (Command"),
        ("cat", "failed (could not convert"),
    ],
)
def test_a_meteor_that_fails_says_so(tmp_path, monkeypatch, script, reason):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    monkeypatch.setattr(program.shutil, "which", lambda name: str(java))
    monkeypatch.setattr(program, "_jar", lambda: tmp_path / "meteor.jar")
    monkeypatch.setattr(program, "LIMIT", 0.5)
    value, said = program.meteor([["a"]], [[["a"]]])
    assert value is None
    assert reason in said


def asked(key: str, *answers: str, text: str = "What is it?", kind: str = "Object") -> Question:
    return Question(key, "s", text, answers, kind)


def test_rows_by_hand():
    question = asked("q", "two brown chairs", "a table")
    exact = measures.row(question, ["a table"], lemma)
    assert exact == {"em1": 1, "em10": 1, "clean_em": 1, "refined_em": 1, "f1": 1}
    near = measures.row(question, ["2 brown chair", "x", "a table"], lemma)
    assert near["em1"] == 0
    assert near["em10"] == 1
    assert near["clean_em"] == 0
    assert near["refined_em"] == 1
    assert near["f1"] == pytest.approx(2 / 3)  # brown and chair(s) of three words on both sides
    assert measures.row(question, [], lemma) == dict.fromkeys(exact, 0)
    assert measures.row(question, ["A table"], lemma)["em1"] == 0  # to the letter


def test_words_count_by_whether_they_occur():
    assert measures.f_value("chair chair chair lamp", "chairs", lemma) == pytest.approx(2 * 0.75 / 1.75)


def test_a_missing_answer_is_wrong_and_one_answer_each_has_no_em10():
    questions = [asked("a", "lamp"), asked("b", "lamp", kind="Other")]
    found = measures.scores(questions, {"a": ["lamp"]}, lemma)
    assert (found["n"], found["em1"], found["em10"]) == (2, 0.5, None)
    assert found["by_type"] == {
        "Object": {"n": 1, "em1": 1, "clean_em": 1, "refined_em": 1},
        "Other": {"n": 1, "em1": 0, "clean_em": 0, "refined_em": 0},
    }
    assert measures.scores(questions, {"a": ["x", "lamp"]}, lemma)["em10"] == 0.5
    with pytest.raises(ValueError, match="no question"):
        measures.scores([], {}, lemma)


@pytest.mark.parametrize(
    ("said", "cleaned"),
    [
        ("  The 2  Chairs. ", "two chairs"),
        ("letf of the tv", "left of TV"),
        ("20, 21 and 23", "twenty, 21 and twenty-three"),
        ("none", "zero"),
        ("11 oclock", "eleven o'clock"),
        ("o' clock", "o'clock"),
        ("mat2 no1", "mat no"),
        ("a an apple", "apple"),
        ("backwards", "backward"),
        ("façade?!", "faade"),
        ("L-shaped: it's", "l-shaped: it's"),
        ("", ""),
    ],
)
def test_cleaned_answers(said, cleaned):
    assert clean(said) == cleaned


@pytest.mark.parametrize(
    ("answer", "references", "found"),
    [
        ("Chair", ["table", "the chair"], (True, True)),
        ("book shelf", ["bookshelf"], (False, True)),
        ("in front of the brown table", ["brown table"], (False, True)),
        ("lamp", ["table"], (False, False)),
        ("", ["table"], (False, False)),
        ("?", ["table"], (False, False)),
        ("chair", ["?", "lamp"], (False, False)),
    ],
)
def test_refined_match(answer, references, found):
    assert match(answer, references) == found
