"""How well molecules are written for descriptions: `python recipes/eval_molecule_generation.py --predictions mols.tsv`.

The file is tab-separated with a first line that names the columns description, ground truth and output, as MolT5's
released predictions are; the last two are SMILES; .zst is unpacked. Measured as there (ChEBI-20): BLEU, exact match,
Levenshtein distance, MACCS, RDK and Morgan similarity, FCD, validity; the protocol of 3D-MolT5, which drops
stereo and invalid rows, is under "stereo_free". With --train the report has novelty, and beside the model's scores
those of the molecule of the nearest training description, with and without training molecules that are in the
test set, and of training molecules drawn at random.

Where outputs are CXSMILES with coordinates, "space" says whether these agree with the structures: bond lengths, hands,
clashes, RMSD to --conformers ETKDG conformers, beside the coordinates of the ground truth, of another conformer, and,
with --space, of codes drawn as often as molecules in space of the training set have them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from modalities.molecule.metrics.ensembles import COUNT, Ensembles
from modalities.molecule.metrics.floor import training
from modalities.molecule.metrics.page import molecule_page
from modalities.molecule.metrics.predictions import (
    DESCRIPTION,
    Pairs,
    Predictions,
    read_pairs,
    read_predictions,
)
from modalities.molecule.metrics.progress import shown
from modalities.molecule.metrics.report import generation_report
from modalities.molecule.metrics.space import SpaceScorer
from unitok.command import command
from unitok.eval.provenance import provenance


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument(
        "--predictions", type=Path, required=True, help="description, ground truth, output by row"
    )
    out.add_argument(
        "--train", type=Path, help='TSV with SMILES and description, or .jsonl with "smiles", "text"'
    )
    out.add_argument(
        "--no-fcd", action="store_true", help="leave out FCD: minutes for thousands of molecules"
    )
    out.add_argument(
        "--space", type=Path, help="training molecules in space: .sdf, or .jsonl of the task place"
    )
    out.add_argument(
        "--conformers", type=int, default=COUNT, help="conformers that coordinates are compared with"
    )
    out.add_argument("--out", type=Path, default=Path("generation.json"), help="report to write")
    out.add_argument("--html", type=Path, help="page to write: description, target and output side by side")
    out.add_argument("--rows", type=int, default=50, help="rows that the page shows")
    return out


def measured(rows: Predictions, train: Pairs | None, options: argparse.Namespace) -> dict[str, Any]:
    """Score predictions, write the report and the page, give the report back."""
    for path in filter(None, (options.out, options.html)):
        path.parent.mkdir(parents=True, exist_ok=True)
    ensembles = Ensembles(options.conformers)
    known = training(options.space) if options.space else None
    with shown() as track:
        space = SpaceScorer(ensembles, known, track)
        report = {**generation_report(rows, train, not options.no_fcd, track, space), **provenance()}
    options.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(molecule_page(rows, report, options.rows, ensembles), encoding="utf-8")
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return report


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Read, measure, write."""
    options = parser().parse_args(arguments)
    if options.rows < 0:
        raise ValueError(f"--rows {options.rows}: give 0 or more")
    train = read_pairs(options.train) if options.train else None
    return measured(read_predictions(options.predictions, DESCRIPTION), train, options)


if __name__ == "__main__":
    command(main)
