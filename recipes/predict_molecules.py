"""Let a run describe molecules or draw described ones: `python recipes/predict_molecules.py RUN ROWS --write text`.

    python recipes/predict_molecules.py runs/molecules chebi20_test.txt --write text --out captions.tsv
    python recipes/eval_molecule_captioning.py --predictions captions.tsv --out captioning.json
    python recipes/predict_molecules.py runs/molecules chebi20_test.txt --write molecule --out molecules.tsv
    python recipes/eval_molecule_generation.py --predictions molecules.tsv --out generation.json

ROWS is a table with the columns SMILES and description (MolT5's files; .zst too). Written is a table in the form of
MolT5's predictions; a molecule that the run places in space is written as CXSMILES with coordinates. With --like each
question stands beside the most similar row of a training table (never the same molecule), as in the tasks caption_like
and molecule_like. A row that the run's tokenizers cannot encode keeps an empty output, and is counted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rdkit import Chem

from modalities.molecule.metrics.predictions import DESCRIPTION, SMILES, read_pairs, write_predictions
from modalities.molecule.neighbours import examples
from modalities.molecule.tasks.record import blocks
from modalities.molecule.tasks.text import Example, asked_molecule, asked_text
from modalities.molecule.told import to_cxsmiles
from unitok.command import command
from unitok.eval.replies import Turns, answers
from unitok.generate import Sampler
from unitok.run import reopen

GIVEN = {"text": SMILES, "molecule": DESCRIPTION}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, help="folder of a finished run")
    out.add_argument("rows", type=Path, help="table with SMILES and description")
    out.add_argument("--write", choices=sorted(GIVEN), required=True, help="what the run writes")
    out.add_argument("--like", type=Path, help="training table: show the most similar row with each question")
    out.add_argument("--example", type=int, default=1, help="--like's most similar row (1), the next (2)")
    out.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest id")
    out.add_argument("--budget", type=int, default=192, help="most ids of an answer")
    out.add_argument("--most", type=int, default=10**9, help="at most so many rows")
    out.add_argument("--out", type=Path, default=Path("predictions.tsv"))
    return out


def question(write: str, smiles: str, text: str, example: Example | None, block: str) -> Turns:
    """The user's turn about one row; `block` is the text block's name."""
    parts = asked_text(smiles, example) if write == "text" else asked_molecule(text, example)
    return [("user", blocks(parts, block))]


def main(arguments: list[str] | None = None) -> int:
    """Ask about every row and write the answers; gives how many there are."""
    options = parser().parse_args(arguments)
    if options.most < 1:
        raise ValueError(f"--most {options.most} is out of range: 1 and up")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run, decoder = reopen(options.run)
    block = run.vocabulary.text
    if block is None or "molecule" not in run.vocabulary.blocks:
        raise ValueError(f"{options.run} has no text or no block molecule: train one with both")
    pairs = read_pairs(options.rows)
    rows = list(zip(pairs.smiles, pairs.texts, strict=True))[: options.most]
    beside: list[Example | None] = [None] * len(rows)
    if options.like:
        train = read_pairs(options.like)
        known, by = (train.smiles, train.texts), "molecule" if options.write == "text" else "text"
        beside = examples(pairs.smiles, pairs.texts, known, by, options.example)[: options.most]
    asked = [question(options.write, *row, one, block) for row, one in zip(rows, beside, strict=True)]
    kind = (block,) if options.write == "text" else ("molecule",)
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    written, refused = answers(
        sampler, asked, [kind] * len(asked), temperature=options.temperature, budget=options.budget
    )
    lines = []
    for (smiles, text), said in zip(rows, written, strict=True):
        words = [to_cxsmiles(one) if isinstance(one, Chem.Mol) else str(one) for one in said]
        output = "".join(words[:1] if options.write == "molecule" else words)
        lines.append((smiles, text, output) if options.write == "text" else (text, smiles, output))
    write_predictions(options.out, GIVEN[options.write], lines)
    print(f"{options.out}: {len(rows)} rows, {len(refused)} could not be asked; {len(pairs.bad)} unreadable")
    print(*pairs.bad[:5], *[f"row {i + 1}: {why}" for i, why in refused.items()][:5], sep="\n")
    return len(rows) - len(refused)


if __name__ == "__main__":
    command(main)
