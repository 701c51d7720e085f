"""Predictions in ScanQA's form of submission: a list of {scene_id, question_id, answer_top10, bbox}.

    answers, problems = read(Path("pred.json"), questions)      # {question_id: ["a chair", "a stool", ...]}
    write(Path("pred.json"), questions, answers)

`answer_top10` holds the likeliest answer first and at most ten; `bbox`, eight corners, is not looked at. Of records
that cannot be used one sentence each says why; the others are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unitok.eval.qa3d.formats import Question, load, whole

MOST = 10
NO_BOX = [[0.0, 0.0, 0.0]] * 8
"""A model that answers in words marks no object; the form wants eight corners nevertheless."""


def read(path: Path, questions: Sequence[Question]) -> tuple[dict[str, list[str]], list[str]]:
    """Answers by question, and what is wrong.

    Raises:
        ValueError: the file is no list of predictions, or answers no question.
    """
    data = load(path)
    if not isinstance(data, list):
        raise ValueError(
            f"{path} is a {type(data).__name__}: predictions are a list of objects with question_id and answer_top10"
        )
    scenes = {question.id: question.scene for question in questions}
    found: dict[str, list[str]] = {}
    problems = []
    for number, record in enumerate(data):
        wrong = _wrong(record, scenes, found)
        if wrong:
            problems.append(f"{path.name}, record {number}: {wrong}; left out")
        else:
            found[str(record["question_id"])] = list(record["answer_top10"])
    if not found:
        raise ValueError(
            f"{path} answers none of the questions ({problems[0] if problems else 'it is empty'})"
        )
    return found, problems


def _wrong(record: Any, scenes: Mapping[str, str], found: Mapping[str, list[str]]) -> str:
    """Why a record cannot be used, or nothing."""
    if not isinstance(record, dict):
        return f"{str(record)[:40]!r} is not an object"
    if "question_id" not in record:
        return "it has no 'question_id'"
    key, answers = str(record["question_id"]), record.get("answer_top10")
    if key not in scenes:
        return f"there is no question {key!r:.60}"
    if key in found:
        return f"question {key!r} is answered already, and the first answer is kept"
    scene = record.get("scene_id")
    if scene is not None and str(scene) != scenes[key]:
        return f"question {key!r} is about scene {scenes[key]!r} and not {scene!r:.60}"
    if not isinstance(answers, list) or not answers or not all(isinstance(one, str) for one in answers):
        return f"its 'answer_top10' is {answers!r:.60} and not a list of texts"
    if not all(whole(one) for one in answers):
        return f"its 'answer_top10' is {answers!r:.60}: half a character (a lone surrogate) is no text"
    if len(answers) > MOST:
        return f"it has {len(answers)} answers, and at most {MOST} count"
    return ""


def write(path: Path, questions: Sequence[Question], answers: Mapping[str, Sequence[str]]) -> None:
    """A submission of the questions that have answers."""
    rows = [
        {"scene_id": one.scene, "question_id": one.id, "answer_top10": list(answers[one.id]), "bbox": NO_BOX}
        for one in questions
        if one.id in answers
    ]
    path.write_text(json.dumps(rows, ensure_ascii=False) + "\n", encoding="utf-8")
