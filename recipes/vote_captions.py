"""Take for each molecule the best of several descriptions: `python recipes/vote_captions.py RUN A.tsv [B.tsv ...] --like TRAIN`.

    python recipes/predict_molecules.py runs/molecules chebi20_test.txt --write text --like chebi20_validation.txt --out a.tsv
    python recipes/vote_captions.py runs/molecules a.tsv --like chebi20_validation.txt --out voted.tsv
    python recipes/eval_molecule_captioning.py --predictions voted.tsv --train chebi20_validation.txt

Candidates are the run's answers, of one or more prediction files about the same molecules, and the descriptions of the
--near most similar training molecules (never the same molecule's). Each scores --trust times its agreement with all
others (n-grams; an answer counts --own, a neighbour its similarity cubed) minus the nats per token that the run gives it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from modalities.molecule.metrics.predictions import SMILES, read_pairs, read_predictions, write_predictions
from modalities.molecule.neighbours import MoleculeIndex
from modalities.molecule.tasks.record import blocks
from modalities.molecule.tasks.text import asked_text
from unitok.command import command
from unitok.document import Document
from unitok.eval.replies import document
from unitok.eval.vote import Ballot, votes
from unitok.modality import BadItem
from unitok.run import Run, reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, help="folder of a finished run")
    out.add_argument("predictions", type=Path, nargs="+", help="files of predict_molecules.py --write text")
    out.add_argument("--like", type=Path, required=True, help="training table with SMILES and description")
    out.add_argument("--near", type=int, default=12, help="descriptions of so many neighbours are candidates")
    out.add_argument("--own", type=float, default=0.001, help="weight of an answer of the run's")
    out.add_argument("--trust", type=float, default=15.0, help="nats per token that full agreement is worth")
    out.add_argument("--out", type=Path, default=Path("voted.tsv"))
    return out


def question(run: Run, smiles: str) -> Document | None:
    """The plain question for a description; None where the run cannot read the molecule."""
    text = run.vocabulary.text or ""
    try:
        return document(run.modalities, text, [("user", blocks(asked_text(smiles), text))])
    except BadItem:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Vote on every molecule and write the winners; gives how many were not the run's own."""
    options = parser().parse_args(arguments)
    run, decoder = reopen(options.run)
    text = run.modalities[run.vocabulary.text or ""]
    files = [read_predictions(path, SMILES) for path in options.predictions]
    smiles, references = files[0].given, files[0].references
    if any(file.given != smiles for file in files):
        raise ValueError("the prediction files are not about the same molecules in the same order")
    train = read_pairs(options.like)
    index = MoleculeIndex(train.smiles)
    ballots: list[Ballot] = []
    for row, one in enumerate(smiles):
        own = [file.outputs[row] for file in files if file.outputs[row].strip()]
        near = index.several(one, options.near)
        candidates = [*own, *(train.texts[at] for at, _ in near)] or [""]
        weights = [*(options.own for _ in own), *(alike**3 for _, alike in near)] or [1.0]
        ballots.append(Ballot(question(run, one), candidates, weights))
    scores = votes(decoder.eval(), run.vocabulary, text, ballots, options.trust)
    won = [max(range(len(one)), key=one.__getitem__) for one in scores]
    said = [ballot.candidates[place] for ballot, place in zip(ballots, won, strict=True)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_predictions(options.out, SMILES, zip(smiles, references, said, strict=True))
    others = sum(one not in {file.outputs[row] for file in files} for row, one in enumerate(said))
    print(f"{options.out}: {len(won)} rows, {others} of which a neighbour's description has won")
    return others


if __name__ == "__main__":
    command(main)
