"""How well molecules are written for descriptions: `python recipes/eval_molecule_generation.py --predictions mols.tsv`.

The file is a table with a first line that names the columns description, ground truth and output, as MolT5's
released predictions are; the last two are SMILES; .zst and .gz are unpacked. Measured as there (ChEBI-20): BLEU, exact match,
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
from pathlib import Path
from typing import Any

from modalities.molecule.metrics import output
from modalities.molecule.metrics.ensembles import COUNT, Ensembles
from modalities.molecule.metrics.floor import training
from modalities.molecule.metrics.page import molecule_page
from modalities.molecule.metrics.predictions import DESCRIPTION, read_pairs, read_predictions
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
        "--train", type=Path, help='table with SMILES and description, or .jsonl with "smiles", "text"'
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
    output.arguments(out, "generation.json", "description, target and output")
    return out


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Read, measure, write."""
    options = parser().parse_args(arguments)
    output.ready(options)
    train = read_pairs(options.train) if options.train else None
    rows = read_predictions(options.predictions, DESCRIPTION)
    ensembles = Ensembles(options.conformers)
    known = training(options.space) if options.space else None
    with shown() as track:
        space = SpaceScorer(ensembles, known, track)
        report = {**generation_report(rows, train, not options.no_fcd, track, space), **provenance()}
    return output.put(report, lambda: molecule_page(rows, report, options.rows, ensembles), options)


if __name__ == "__main__":
    command(main)
