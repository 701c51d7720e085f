"""How well molecules are described: `python recipes/eval_molecule_captioning.py --predictions captions.tsv`.

The file is a table with a first line that names the columns SMILES, ground truth and output, as MolT5's
released predictions are; .zst and .gz are unpacked. Measured as there (ChEBI-20): BLEU-2, BLEU-4 and METEOR on SciBERT
pieces, ROUGE-1, -2 and -L. METEOR needs WordNet, which is prepared once in the user's cache; where none can
be had it is null with the reason. With --train the report has beside the model's scores those of the nearest
training molecule's description, with and without training molecules that are in the test set, and of a floor.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from modalities.molecule.metrics import output
from modalities.molecule.metrics.page import caption_page
from modalities.molecule.metrics.predictions import SMILES, read_pairs, read_predictions
from modalities.molecule.metrics.progress import shown
from modalities.molecule.metrics.report import captioning_report
from unitok.command import command
from unitok.eval.provenance import provenance


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--predictions", type=Path, required=True, help="SMILES, ground truth and output by row")
    out.add_argument(
        "--train", type=Path, help='table with SMILES and description, or .jsonl with "smiles", "text"'
    )
    output.arguments(out, "captioning.json", "molecule, target and output")
    return out


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Read, measure, write."""
    options = parser().parse_args(arguments)
    output.ready(options)
    train = read_pairs(options.train) if options.train else None
    rows = read_predictions(options.predictions, SMILES)
    with shown() as track:
        report = {**captioning_report(rows, train, track=track), **provenance()}
    return output.put(report, lambda: caption_page(rows, report, options.rows), options)


if __name__ == "__main__":
    command(main)
