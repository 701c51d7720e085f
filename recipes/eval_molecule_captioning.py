"""How well molecules are described: `python recipes/eval_molecule_captioning.py --predictions captions.tsv`.

The file is tab-separated with a first line that names the columns SMILES, ground truth and output, as MolT5's
released predictions are; .zst is unpacked. Measured as there (ChEBI-20): BLEU-2, BLEU-4 and METEOR on SciBERT
pieces, ROUGE-1, -2 and -L. METEOR needs WordNet, which is prepared once in the user's cache; where none can
be had it is null with the reason. With --train the report has beside the model's scores those of the nearest
training molecule's description, with and without training molecules that are in the test set, and of a floor.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from modalities.molecule.metrics.page import caption_page
from modalities.molecule.metrics.predictions import SMILES, Pairs, Predictions, read_pairs, read_predictions
from modalities.molecule.metrics.progress import shown
from modalities.molecule.metrics.report import captioning_report
from unitok.command import command
from unitok.eval.provenance import provenance


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--predictions", type=Path, required=True, help="SMILES, ground truth and output by row")
    out.add_argument(
        "--train", type=Path, help='TSV with SMILES and description, or .jsonl with "smiles", "text"'
    )
    out.add_argument("--out", type=Path, default=Path("captioning.json"), help="report to write")
    out.add_argument("--html", type=Path, help="page to write: molecule, target and output side by side")
    out.add_argument("--rows", type=int, default=50, help="rows that the page shows")
    return out


def measured(rows: Predictions, train: Pairs | None, options: argparse.Namespace) -> dict[str, Any]:
    """Score predictions, write the report and the page, give the report back."""
    for path in filter(None, (options.out, options.html)):
        path.parent.mkdir(parents=True, exist_ok=True)
    with shown() as track:
        report = {**captioning_report(rows, train, track=track), **provenance()}
    options.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(caption_page(rows, report, options.rows), encoding="utf-8")
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return report


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Read, measure, write."""
    options = parser().parse_args(arguments)
    if options.rows < 0:
        raise ValueError(f"--rows {options.rows}: give 0 or more")
    train = read_pairs(options.train) if options.train else None
    return measured(read_predictions(options.predictions, SMILES), train, options)


if __name__ == "__main__":
    command(main)
