"""How well a run places molecules in space: `python recipes/eval_conformers.py RUN --data place.jsonl --html page.html`.

DATA holds records of the task place (tools/make_molecule_tasks.py --space writes them); those that are held out are
asked. The median RMSD to the right coordinates stands beside that of the nearest of --conformers ETKDG conformers, of
one, of the flat drawing, and of codes drawn as often as the training records have them; "space" says whether the
coordinates agree with the molecules that were written. With --samples each is asked several times and the nearest
answer counts; that needs a --temperature.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rdkit import Chem

from modalities.molecule.metrics.ensembles import COUNT, Ensembles
from modalities.molecule.metrics.floor import training
from modalities.molecule.metrics.place import place_page, place_report
from modalities.molecule.metrics.predictions import structure_of
from modalities.molecule.metrics.progress import shown
from modalities.molecule.posed import in_space
from unitok.command import command
from unitok.data.sources import Record, read
from unitok.eval.provenance import provenance
from unitok.eval.replies import replies
from unitok.generate import Sampler
from unitok.run import reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, help="folder of a finished run")
    out.add_argument("--data", type=Path, required=True, help="records of the task place")
    out.add_argument("--most", type=int, default=500, help="at most so many questions")
    out.add_argument("--samples", type=int, default=1, help="answers to each")
    out.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest id")
    out.add_argument("--budget", type=int, default=512, help="most ids of an answer")
    out.add_argument("--conformers", type=int, default=COUNT, help="ETKDG conformers of each molecule")
    out.add_argument("--out", type=Path, default=Path("conformers.json"), help="report to write")
    out.add_argument("--html", type=Path, help="page to write: right and written coordinates side by side")
    out.add_argument("--rows", type=int, default=30, help="molecules that the page shows")
    return out


def molecule(items: list[Any]) -> Chem.Mol | None:
    """The first molecule of an answer; None if there is none."""
    return next((one if isinstance(one, Chem.Mol) else structure_of(str(one)) for one in items), None)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Ask, compare, write."""
    options = parser().parse_args(arguments)
    if options.samples < 1 or (options.samples > 1 and not options.temperature):
        raise ValueError(f"--samples {options.samples}: give 1, or more with a --temperature above 0")
    run, decoder = reopen(options.run)
    if "molecule" not in run.vocabulary.blocks:
        raise ValueError(f"{options.run} has no block molecule: train one with molecule.mol3d")
    ensembles = Ensembles(options.conformers)
    records = [one for one in read(options.data) if isinstance(one, Record)]
    held = [one for one in records if one.fields.get("split") != "train"]
    known = training(options.data) if len(held) < len(records) else None
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    how = {"temperature": options.temperature, "budget": options.budget}
    asked = [list(replies(sampler, held[: options.most], seed=s, **how)) for s in range(options.samples)]
    right, answers = [], []
    for same in zip(*asked, strict=True):
        mol = molecule(same[0].wanted)
        if mol is not None and in_space(mol):  # a single atom has no coordinates
            right.append(mol)
            answers.append([molecule(reply.given) for reply in same])
    with shown() as track:
        rows, report = place_report(right, answers, ensembles, known, track)
    report |= {"samples": options.samples, "data": str(options.data), **provenance()}
    for path in filter(None, (options.out, options.html)):
        path.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(place_page(rows, report, options.rows), encoding="utf-8")
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    command(main)
