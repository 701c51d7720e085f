"""Take for each description the best of several molecules: `python recipes/vote_molecules.py A.tsv B.tsv ... --like TRAIN`.

    python recipes/predict_molecules.py runs/molecules chebi20_test.txt --write molecule --like chebi20_validation.txt \\
        --example 1 --temperature 0.7 --out a.tsv          (and so on, each beside another example)
    python recipes/vote_molecules.py a.tsv b.tsv c.tsv d.tsv --like chebi20_validation.txt --out voted.tsv
    python recipes/eval_molecule_generation.py --predictions voted.tsv --train chebi20_validation.txt

The candidates are the answers of the files; the voters are the molecules of the --near training descriptions that are
most like the description (never the same molecule). Taken is the answer with the highest mean Tanimoto similarity to them,
weighed by the squared likeness of their descriptions. A training molecule is never taken itself, unless a run wrote it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from modalities.molecule.metrics.predictions import (
    DESCRIPTION,
    bare,
    read_pairs,
    read_predictions,
    write_predictions,
)
from modalities.molecule.neighbours import TextIndex, nearness
from unitok.command import command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument(
        "predictions", type=Path, nargs="+", help="files of predict_molecules.py --write molecule"
    )
    out.add_argument("--like", type=Path, required=True, help="training table with SMILES and description")
    out.add_argument("--near", type=int, default=4, help="how many training molecules vote")
    out.add_argument("--out", type=Path, default=Path("voted.tsv"))
    return out


def main(arguments: list[str] | None = None) -> int:
    """Vote on every description and write the winners; gives how many answers there are."""
    options = parser().parse_args(arguments)
    files = [read_predictions(path, DESCRIPTION) for path in options.predictions]
    texts, references = files[0].given, files[0].references
    if any(file.given != texts or file.references != references for file in files):
        raise ValueError("the prediction files are not about the same descriptions in the same order")
    train = read_pairs(options.like)
    index = TextIndex(train.texts, train.smiles)
    said = []
    for row, text in enumerate(texts):
        candidates = [file.outputs[row] for file in files if file.outputs[row].strip()]
        near = index.several(text, options.near, but=bare(references[row]))
        if candidates and near:
            voters, alike = [train.smiles[at] for at, _ in near], [one**2 for _, one in near]
            scores = nearness([bare(one) for one in candidates], voters, alike)
            candidates = [candidates[max(range(len(scores)), key=scores.__getitem__)]]
        said.append(candidates[0] if candidates else "")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_predictions(options.out, DESCRIPTION, zip(texts, references, said, strict=True))
    answered = sum(bool(one) for one in said)
    print(f"{options.out}: {len(said)} rows, {answered} answered")
    return answered


if __name__ == "__main__":
    command(main)
