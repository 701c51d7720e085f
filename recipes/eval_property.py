"""How well a run answers with numbers: `python recipes/eval_property.py runs/molecules --data orbitals.jsonl`.

DATA holds records with turns whose last answer is a number (tools/make_molecule_tasks.py writes them). Each
question is asked once; printed are, for each kind of question, the mean absolute error over the answers that
are numbers, the share that are, and beside it the error of the training records' median. Answers of "yes"/"no" or R/S are
compared as words: the share that is right, and the commonest answer's. For a classification of two classes that
is the accuracy; all answers go to `--out`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from unitok.command import command
from unitok.data.sources import Record, read
from unitok.eval.numbers import kind, scored
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
    parser.add_argument("--out", type=Path, default=Path("properties.json"))
    options = parser.parse_args(arguments)
    run, decoder = reopen(options.run)
    text = run.vocabulary.text or ""
    asked: dict[str, list[Record]] = defaultdict(list)
    train: dict[str, list[str]] = defaultdict(list)
    for record in read(options.data):
        if isinstance(record, Record):
            turns, answer = split(record, text)
            what = kind(" ".join(str(value) for _, parts in turns for block, value in parts if block == text))
            if record.fields.get("split") == "train":
                train[what].append(str(answer[0][1]))
            elif len(asked[what]) < options.most:
                asked[what].append(record)
    if not any(asked.values()):
        raise ValueError(f"{options.data} has no record whose split is not train: there is nothing to ask")
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    answers = list(replies(sampler, [r for some in asked.values() for r in some], temperature=0.0, budget=24))
    rows = [
        {"key": r.record.key, "wanted": r.wanted[0], "given": "".join(map(str, r.given))} for r in answers
    ]
    figures: dict[str, Any] = {}
    at = 0
    for name, some in asked.items():
        part, at = rows[at : at + len(some)], at + len(some)
        figures[name] = scored([r["wanted"] for r in part], [r["given"] for r in part], train[name])
        shown = (f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures[name].items())
        print(f"{name:40.40}", "  ".join(shown))
    rows = [
        {"key": r.record.key, "wanted": r.wanted[0], "given": "".join(map(str, r.given))} for r in answers
    ]
    report = {**provenance(), "data": str(options.data), "figures": figures, "answers": rows}
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    command(main)
