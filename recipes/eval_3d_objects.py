"""What single objects are and look like: `python recipes/eval_3d_objects.py runs/rooms --data data/rooms/objects.jsonl`.

The protocol is PointLLM's (arXiv:2308.16911) without its judges, and not judged by GPT: records of kind "class" ask "What
is this?", those of kind "completion" begin "This is an object of", and both are scored over the closed set of their answers, by the option that the model finds likeliest per code
(no sampling) and by the longest label in its greedy answer; records of kind "caption" are scored against the reference
by BLEU, ROUGE-L and CIDEr on Treebank words. Beside them stand the commonest training label and chance, and a training
caption drawn at random.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from unitok.command import command
from unitok.data.sources import Record, read
from unitok.eval.asked import questions, sides
from unitok.eval.caption import measures
from unitok.eval.naming import figures, label_in, likeliest
from unitok.eval.outputs import prepare
from unitok.eval.provenance import provenance
from unitok.eval.qa3d.ask import answers
from unitok.eval.qa3d.report import JUDGE
from unitok.eval.qa3d.words import treebank
from unitok.generate import Sampler
from unitok.run import reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, help="folder of a finished run")
    out.add_argument("--data", type=Path, required=True, help="records: class, completion, caption")
    out.add_argument("--budget", type=int, default=64, help="most ids of an answer")
    out.add_argument("--out", type=Path, default=Path("objects.json"))
    return out


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Ask, weigh, compare, write."""
    options = parser().parse_args(arguments)
    prepare(options, "out")
    run, decoder = reopen(options.run)
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    everything = list(read(options.data))
    records = [one for one in everything if isinstance(one, Record)]
    problems = [f"{one.where}: {one.reason}; left out" for one in everything if not isinstance(one, Record)]
    found: dict[str, Any] = {}
    rows = []
    for kind in ("class", "completion", "caption"):
        known, held, right, broken = sides(records, kind, run.vocabulary.text or "")
        documents, refused = questions(held, run.vocabulary, run.modalities)
        problems += [f"{said}; left out" for said in (*broken, *refused.values())]
        if not documents:
            raise ValueError(f"no held-out record of kind {kind!r} can be asked ({problems[-1]})")
        asked, wanted = [documents[at] for at in documents], [right[at] for at in documents]
        given = [line[0] for line in answers(sampler, asked, 0, 1.0, options.budget)]
        if kind != "caption":
            labels = sorted({*known, *right})
            ways = {
                "likelihood": likeliest(sampler, asked, labels),
                "label in answer": [label_in(one, labels) for one in given],
            }
            ways["commonest"] = [Counter(known).most_common(1)[0][0]] * len(wanted)
            found[kind] = {way: figures(wanted, said) for way, said in ways.items()}
            found[kind]["chance"] = {"right": 1 / len(labels)}
        else:
            ways = {"model": given, "random": [random.Random(one).choice(known) for one in wanted]}
            references = [[" ".join(treebank(one))] for one in wanted]
            found[kind] = {
                way: measures([" ".join(treebank(one)) for one in said], references)
                for way, said in ways.items()
            }
        for way, line in found[kind].items():
            print(f"{kind:10} {way:16}", "  ".join(f"{name} {value:.4f}" for name, value in line.items()))
        pairs = zip(asked, wanted, given, strict=True)
        rows += [{"key": one.key, "kind": kind, "wanted": a, "given": b} for one, a, b in pairs]
    print("\n".join([*problems, f"answers are {JUDGE}"]))
    report = {"judge": JUDGE, "problems": problems, "figures": found, "answers": rows, **provenance()}
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    command(main)
