"""Pages of what a model wrote: what was asked, the molecules drawn, how like one another they are. One HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cells import SIDE, Cell, molecule
from .ensembles import Ensembles
from .generation import GenerationScorer
from .predictions import Predictions, bare

WAYS = {
    "nearest": "nearest training item",
    "nearest_with_shared": "the same, test molecules allowed",
    "reference": "right answers",
    "best_etkdg": "nearest of several ETKDG conformers",
    "etkdg": "one ETKDG conformer",
    "flat": "flat layout",
    "floor": "floor",
}
"""What stands beside the model in a report."""


@dataclass(frozen=True)
class Scores:
    """A table of figures: names of the measures, and a line for the model and for each of what stands beside it."""

    title: str
    names: Sequence[str]
    lines: Sequence[tuple[str, Sequence[str]]]


def caption_page(rows: Predictions, report: Mapping[str, Any], most: int = 50) -> str:
    """Molecule | target | output for the first rows, above them the report's scores. jinja2 is imported here.

    Raises:
        ModuleNotFoundError: jinja2 is missing; `pip install 'unitok-lm[train]'` brings it.
    """
    first = zip(rows.given[:most], rows.references, rows.outputs, strict=False)
    cells = [(molecule(a), Cell(b), Cell(c)) for a, b, c in first]
    return render(
        "Molecules described", ("molecule", "target", "output"), cells, report["n"], [scores(report)]
    )


def molecule_page(
    rows: Predictions, report: Mapping[str, Any], most: int = 50, ensembles: Ensembles | None = None
) -> str:
    """Description | target | output | Morgan similarity for the first rows. jinja2 is imported here.

    Molecules with coordinates are shown in space, too: outputs beside the right coordinates, if the target has some
    and is the same molecule, else beside the nearest of their conformers.

    Args:
        rows, report: what was measured, and the figures.
        most: rows that are shown.
        ensembles: the conformers that the report was made with.

    Raises:
        ModuleNotFoundError: jinja2 is missing; `pip install 'unitok-lm[train]'` brings it.
    """
    score, ensembles = GenerationScorer(fcd=False), ensembles or Ensembles()
    cells = []
    for given, reference, output in zip(rows.given[:most], rows.references, rows.outputs, strict=False):
        near = score.similarity(bare(reference), bare(output))
        shown = molecule(reference), molecule(output, reference, ensembles)
        cells.append((Cell(given), *shown, Cell("–" if near is None else f"{near:.2f}")))
    tables = [scores(report)]
    if "space" in report:
        tables.append(scores(report["space"], "Coordinates of the molecules that were written"))
    columns = ("description", "target", "output", "similarity")
    return render("Molecules from descriptions", columns, cells, report["n"], tables)


def render(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    n: int,
    tables: Sequence[Scores],
) -> str:
    """The page: tables of scores, then the rows under the names of their columns; `n` rows were measured."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    return template.render(title=title, columns=columns, rows=rows, n=n, tables=tables, side=SIDE)


def scores(report: Mapping[str, Any], title: str = "Scores") -> Scores:
    """The figures of a report that are measures of the model, and those of what stands beside it."""
    beside = {name: report[way] for way, name in WAYS.items() if isinstance(report.get(way), Mapping)}
    lines = {"model": report, **beside}
    names = [
        key
        for key in dict.fromkeys(key for line in lines.values() for key in line)
        if key not in (*WAYS, "way")
        and all(isinstance(line.get(key), float | None) for line in lines.values())
    ]
    return Scores(
        title, names, [(way, [_figure(line.get(name)) for name in names]) for way, line in lines.items()]
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if abs(value) >= 2 else f"{value:.4f}"
