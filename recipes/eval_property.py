"""How well a run answers with numbers: `python recipes/eval_property.py runs/properties --data orbitals.jsonl`.

DATA holds records with turns (tools/make_molecule_tasks.py writes them); those that are held out are asked, once
and greedily. Printed are, for each kind of question:
- numbers: the mean absolute error over the answers that are numbers, the share that are, and the error of always
  giving the median of the training records;
- other words (R or S, yes or no, names): the share that is right, and that of the commonest training answer; of two
  words also the AUC of their likelihoods;
- items (molecules): how many answers there are, and the means of the modality's own comparison.
Records that cannot be read or compared are counted and named. All answers go to `--out`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from unitok.command import command
from unitok.eval.classes import ordered
from unitok.eval.kinds import by_kind
from unitok.eval.numbers import compared, scored
from unitok.eval.provenance import provenance
from unitok.eval.replies import replies, split
from unitok.generate import Sampler
from unitok.run import reopen


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Ask, compare, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument(
        "--data", type=Path, required=True, help="records with turns; those held out are asked"
    )
    parser.add_argument("--most", type=int, default=2000, help="at most so many questions of a kind")
    parser.add_argument("--budget", type=int, default=96, help="most ids of an answer")
    parser.add_argument("--out", type=Path, default=Path("properties.json"))
    options = parser.parse_args(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run, decoder = reopen(options.run)
    text = run.vocabulary.text or ""
    known = by_kind(options.data, run.vocabulary, run.modalities, options.most)
    if known.bad:
        print(f"{len(known.bad)} records cannot be asked:", *known.bad[:5], sep="\n  ")
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    figures: dict[str, Any] = {}
    rows = []
    for kind, some in known.asked.items():
        found = list(replies(sampler, some, temperature=0.0, budget=options.budget))
        block = split(some[0], text)[1][0][0]
        if block == text:
            wanted, given = [r.wanted[0] for r in found], ["".join(r.given) for r in found]
            figures[kind] = scored(wanted, given, known.trained[kind])
            if "right" in figures[kind]:
                figures[kind] |= ordered(decoder, run.vocabulary, run.modalities, some, wanted)
        else:
            figures[kind] = compared(run.modalities[block], [(r.wanted[0], r.given) for r in found])
        shown = (f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures[kind].items())
        print(f"{kind:40.40}", "  ".join(shown))
        label = str if block == text else run.modalities[block].label
        for r in found:
            said = {"wanted": r.wanted[0], "given": [label(one) for one in r.given]}
            rows.append({"key": r.record.key, "kind": kind, **said})
    report = {
        **provenance(),
        "data": str(options.data),
        "figures": figures,
        "bad": known.bad,
        "answers": rows,
    }
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    command(main)
