"""A page of predictions: what was asked, the molecules drawn, and how like one another they are. One HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..structure import draw, parsed
from .generation import GenerationScorer
from .predictions import Predictions

SIDE = 220  # pixels of a drawing
WAYS = {
    "model": "model",
    "nearest": "nearest training item",
    "nearest_with_shared": "the same, test molecules allowed",
    "floor": "floor",
}


@dataclass(frozen=True)
class Cell:
    """Words, a drawing with its SMILES below, or a SMILES that is no molecule."""

    text: str
    picture: str = ""
    bad: bool = False


def caption_page(rows: Predictions, report: Mapping[str, Any], most: int = 50) -> str:
    """Molecule | target | output for the first rows, above them the report's scores. jinja2 is imported here.

    Raises:
        ModuleNotFoundError: jinja2 is missing; `pip install 'unitok-lm[train]'` brings it.
    """
    first = zip(rows.given[:most], rows.references, rows.outputs, strict=False)
    cells = [(molecule(a), Cell(b), Cell(c)) for a, b, c in first]
    return _render("Molecules described", ("molecule", "target", "output"), cells, report)


def molecule_page(rows: Predictions, report: Mapping[str, Any], most: int = 50) -> str:
    """Description | target | output | Morgan similarity for the first rows. jinja2 is imported here.

    Raises:
        ModuleNotFoundError: jinja2 is missing; `pip install 'unitok-lm[train]'` brings it.
    """
    score = GenerationScorer(fcd=False)
    cells = []
    for given, reference, output in zip(rows.given[:most], rows.references, rows.outputs, strict=False):
        near = score.similarity(reference, output)
        cells.append(
            (Cell(given), molecule(reference), molecule(output), Cell("–" if near is None else f"{near:.2f}"))
        )
    return _render(
        "Molecules from descriptions", ("description", "target", "output", "similarity"), cells, report
    )


def molecule(smiles: str) -> Cell:
    """The drawing of a SMILES, or the SMILES itself where it is no molecule."""
    mol = parsed(smiles)
    if mol is None:
        return Cell(smiles or "(nothing)", bad=True)
    file = io.BytesIO()
    draw(mol, SIDE).save(file, "PNG")
    return Cell(smiles, "data:image/png;base64," + base64.b64encode(file.getvalue()).decode())


def _render(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], report: Mapping[str, Any]
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names, scores = _scores(report)
    return environment.get_template("page.html.j2").render(
        title=title, columns=columns, rows=rows, names=names, scores=scores, n=report["n"], side=SIDE
    )


def _scores(report: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Names of the measures, and a line of figures for the model and each baseline."""
    names = [
        key
        for key, value in report.items()
        if value is None or (isinstance(value, float) and not isinstance(value, bool))
    ]
    names = [key for key in names if key not in WAYS]
    lines = {"model": report} | {way: report[way] for way in WAYS if isinstance(report.get(way), Mapping)}
    return names, [(WAYS[way], [_figure(line.get(name)) for name in names]) for way, line in lines.items()]


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if abs(value) >= 2 else f"{value:.4f}"
