"""How near to the right coordinates those are that a model writes for a given molecule.

    rows, report = place_report(references, answers, Ensembles(8), train)
    report -> {"rmsd": …, "within_0.5": …, "same": …, "best_etkdg": {…}, "flat": {…}, …}
    place_page(rows, report) -> HTML

Every figure is of the RMSD of heavy atoms after the best rotation, equal atoms paired as fits best (`rmsd`):
    rmsd          the median, Angstrom, over the questions that have one
    rmsd_same     of what stands beside the model: the median over the questions for which the model has one, too
    within_0.5, within_1.25    questions whose RMSD is at most so large, as a share of all questions: the thresholds
                  of coverage for small and for drug-like molecules (Xu et al. 2022, GeoDiff, arXiv:2203.02923)
    same          questions that have an RMSD, as a share: the molecule that was asked for was written, in space
Of several answers to a question the nearest counts. Beside the model stand `best_etkdg`, the nearest of as many
ETKDG conformers as `conformers` says; `etkdg`, one conformer of another seed; `flat`, the drawing in the plane; and
`floor`, codes of bins drawn as often as training molecules have them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdkit import Chem
from rdkit.Chem import rdDepictor

from ..posed import heavy, in_space
from ..rmsd import Nearest, nearest
from ..structure import canonical
from ..written import Bins
from .cells import Cell, drawing, poses, same
from .ensembles import Ensembles
from .floor import Drawn
from .page import WAYS, render, scores
from .progress import Track, quiet
from .space import SpaceScorer

MODEL = "model"
BESIDE = ("best_etkdg", "etkdg", "flat", "floor")
WITHIN = (0.5, 1.25)
"""Angstrom."""


@dataclass(frozen=True)
class PlacedRow:
    """A question with its answers.

    Args:
        reference: the molecule at the right coordinates.
        said: the first answer, None if there is none.
        found: by "model" and the names of what stands beside it, the nearest positions; what has none is not there.
    """

    reference: Chem.Mol
    said: Chem.Mol | None
    found: Mapping[str, Nearest]


def place_report(
    references: Sequence[Chem.Mol],
    answers: Sequence[Sequence[Chem.Mol | None]],
    ensembles: Ensembles,
    train: Sequence[Chem.Mol] | None = None,
    track: Track = quiet,
) -> tuple[list[PlacedRow], dict[str, Any]]:
    """Measure the answers to questions; "space" says whether the first answers agree with themselves (`space`).

    Args:
        references: the molecules that were asked for, at the right coordinates.
        answers: what was written for each, one or several; None where it is no molecule.
        ensembles: makes the conformers.
        train: training molecules in space, whose codes the floor is drawn from; None: no floor.
        track: shows progress.

    Raises:
        ValueError: no question, or a reference without coordinates.
    """
    if not references:
        raise ValueError("there is no question to measure: give at least one molecule in space")
    drawn = Drawn(Bins(), train) if train else None
    rows = [
        _row(reference, written, ensembles, drawn)
        for reference, written in track(list(zip(references, answers, strict=True)), "molecules")
    ]
    answered = [row for row in rows if MODEL in row.found]
    report = {
        "n": len(rows),
        "conformers": ensembles.count,
        **_figures(rows, MODEL),
        **{way: _figures(rows, way) | {"rmsd_same": _median(answered, way)} for way in BESIDE},
    }
    first = [next(iter(written), None) for written in answers]
    if any(mol is not None and in_space(mol) for mol in first):
        report["space"] = SpaceScorer(ensembles, train, track)(first, references)
    return rows, report


def _row(
    reference: Chem.Mol, written: Sequence[Chem.Mol | None], ensembles: Ensembles, drawn: Drawn | None
) -> PlacedRow:
    reference = heavy(reference)
    if not in_space(reference):
        raise ValueError(f"{canonical(reference)} has no coordinates to compare with: give it in space")
    flat = Chem.Mol(reference)
    rdDepictor.Compute2DCoords(flat)
    right = [mol for mol in written if mol is not None and in_space(mol) and same(mol, reference)]
    tried: dict[str, Sequence[Chem.Mol | None]] = {
        MODEL: right,
        "best_etkdg": [ensembles(reference)],
        "etkdg": [ensembles.another(reference)],
        "flat": [flat],
        "floor": [drawn.placed(reference) if drawn else None],
    }
    found = {}
    for way, mols in tried.items():
        near = [nearest(reference, mol) for mol in mols if mol is not None]
        if near:
            found[way] = min(near, key=lambda one: one.rmsd)
    return PlacedRow(reference, next(iter(written), None), found)


def _figures(rows: Sequence[PlacedRow], way: str) -> dict[str, Any]:
    values = [row.found[way].rmsd for row in rows if way in row.found]
    within = {f"within_{limit}": sum(one <= limit for one in values) / len(rows) for limit in WITHIN}
    return {"rmsd": _median(rows, way), **within, "same": len(values) / len(rows)}


def _median(rows: Sequence[PlacedRow], way: str) -> float | None:
    values = [row.found[way].rmsd for row in rows if way in row.found]
    return statistics.median(values) if values else None


def place_page(rows: Sequence[PlacedRow], report: Mapping[str, Any], most: int = 30) -> str:
    """Molecule | right, written and nearest coordinates | what was written instead, for the first rows.

    jinja2 is imported here.

    Raises:
        ModuleNotFoundError: jinja2 is missing; `pip install 'unitok-lm[train]'` brings it.
    """
    cells = [
        (Cell(canonical(row.reference), (drawing(row.reference),)), _in_space(row), _instead(row))
        for row in rows[:most]
    ]
    tables = [scores(report)]
    if "space" in report:
        tables.append(
            scores(report["space"], "Agreement of the first answers with the molecules that they write")
        )
    columns = ("molecule", "in space, RMSD to the right coordinates", "another molecule was written")
    return render("Coordinates of molecules", columns, cells, report["n"], tables)


def _in_space(row: PlacedRow) -> Cell:
    """The right coordinates, those that were written and the nearest conformer; the distances of the rest in words."""
    shown = {MODEL: "written", "best_etkdg": "nearest conformer"}
    said = {way: f"{shown.get(way) or WAYS[way]} {one.rmsd:.2f} Å" for way, one in row.found.items()}
    known = [way for way in shown if way in row.found]
    picture = poses(
        row.reference,
        [row.found[way].positions for way in known],
        " | ".join(["right", *(said[way] for way in known)]),
    )
    return Cell("; ".join(words for way, words in said.items() if way not in shown), (picture,))


def _instead(row: PlacedRow) -> Cell:
    """What was written where it is not the molecule that was asked for, in space if it is; else nothing."""
    if MODEL in row.found or row.said is None:
        return Cell("" if MODEL in row.found else "nothing")
    said = heavy(row.said)
    if same(said, row.reference) and not in_space(said):
        return Cell("the molecule without coordinates")
    return Cell(
        canonical(said), (drawing(said), *([poses(said, [], "as written")] if in_space(said) else []))
    )
