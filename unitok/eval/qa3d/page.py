"""The report of a set of answers as one HTML file: figures, types of question, and answers beside their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unitok.eval.qa3d import blind
from unitok.eval.qa3d.formats import Question
from unitok.eval.qa3d.measures import Answers, row
from unitok.eval.qa3d.report import SHOWN, table


def page(
    questions: Sequence[Question],
    answers: Answers,
    found: Mapping[str, Any],
    train: Sequence[Question] | None = None,
    most: int = 200,
) -> str:
    """The page as HTML, with the first `most` questions. jinja2 is imported here.

    Raises:
        ModuleNotFoundError: jinja2 is missing; `pip install 'unitok-lm[train]'` brings it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    guesses = blind.nearest(questions, train)
    rows = [
        _row(question, answers.get(question.id, ()), guesses[question.id]) for question in questions[:most]
    ]
    return environment.get_template("qa3d.html.j2").render(
        found=found, names=SHOWN, table=_figures(table(found)), types=found["by_type"], rows=rows
    )


def _figures(lines: Mapping[str, Sequence[float | None]]) -> dict[str, list[str]]:
    return {way: ["–" if value is None else f"{value:.2f}" for value in line] for way, line in lines.items()}


def _row(question: Question, given: Sequence[str], guess: Sequence[str]) -> dict[str, Any]:
    marks = row(question, given, None)
    return {
        "question": question,
        "given": given[0] if given else None,
        "guess": guess[0] if guess else None,
        "mark": "exact" if marks["em1"] else "refined" if marks["refined_em"] else "wrong",
    }
