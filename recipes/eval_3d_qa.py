"""How well questions about scenes are answered: `python recipes/eval_3d_qa.py --format scanqa --questions FILE --predictions FILE`.

Questions are ScanQA's, SQA3D's (with --annotations), 3D-LLM's or 3D MM-Vet's (with --annotations) own files;
predictions are in ScanQA's form of submission, [{scene_id, question_id, answer_top10, bbox}]. Files may be .gz or
.zst. With --run the predictions are made first: RUN answers the records of --data whose key is a question's id, once
greedily and nine times drawn, and the submission is written to --predictions. Beside the model stand baselines that
see the questions alone, fitted on --train or, without it, for each scene on the questions of all others. METEOR 1.5
needs pycocoevalcap and Java, F1 needs WordNet; where they are missing these are null with the reason.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from modalities.common.lemma import lemmatizer
from unitok.command import command
from unitok.eval.outputs import prepare
from unitok.eval.provenance import provenance
from unitok.eval.qa3d import formats, predictions
from unitok.eval.qa3d.ask import submission
from unitok.eval.qa3d.page import page
from unitok.eval.qa3d.report import lines, report
from unitok.eval.qa3d.words import treebank
from unitok.generate import Sampler
from unitok.run import reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = out.add_argument
    add("--format", required=True, choices=formats.FORMATS)
    add("--questions", type=Path, required=True)
    add("--annotations", type=Path, help="the answers, of formats that keep them apart (sqa3d, mmvet)")
    add("--predictions", type=Path, required=True, help="a submission to score; with --run it is written")
    add("--train", type=Path, help="training questions in the same format, for the baselines")
    add("--train-annotations", type=Path, help="their answers, as --annotations")
    add("--run", type=Path, help="folder of a finished run that answers first")
    add("--data", type=Path, help="with --run: records with turns, whose keys are question ids")
    add("--no-score", action="store_true", help="with --run: write a submission alone; no answers needed")
    add("--draws", type=int, default=9, help="with --run: answers drawn beside the greedy one, 0 to 9")
    add("--temperature", type=float, default=1.0, help="with --run: of the drawn answers")
    add("--budget", type=int, default=48, help="with --run: most ids of an answer")
    add("--first", default="", help="with --run: asked about the scene first; answers see the answer to it")
    add("--spaces", action="store_true", help="words are what spaces separate, as in LL3DA's evaluation")
    add("--out", type=Path, default=Path("qa3d.json"), help="report to write")
    add("--html", type=Path, help="page to write: questions, references and answers side by side")
    add("--rows", type=int, default=200, help="questions that the page shows")
    return out


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Answer if asked to, read, measure, write."""
    options = parser().parse_args(arguments)
    scored = not options.no_score
    if (options.run is None) != (options.data is None) or not (scored or options.run):
        raise ValueError("--run and --data belong together, and --no-score needs both")
    if (options.train_annotations and not options.train) or options.rows < 0:
        raise ValueError(f"--train-annotations need --train, and --rows {options.rows} must be 0 or more")
    prepare(options, "out", "html", *(["predictions"] if options.run else []))
    questions, problems = formats.read(options.format, options.questions, options.annotations, scored=scored)
    train = None
    if options.train:
        train, lost = formats.read(options.format, options.train, options.train_annotations)
        problems += lost
    if options.run:
        how = {name: getattr(options, name) for name in ("draws", "temperature", "budget", "first")}
        run, decoder = reopen(options.run)
        sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
        problems += submission(sampler, options.data, questions, options.predictions, **how)
    if not scored:
        print("\n".join([*problems, f"submission: {options.predictions}"]))
        return {"submission": str(options.predictions), "problems": problems}
    answers, wrong = predictions.read(options.predictions, questions)
    split = str.split if options.spaces else treebank
    found = report(options.format, questions, answers, [*problems, *wrong], train, *lemmatizer(), split)
    found |= {"words": "spaces" if options.spaces else "treebank", **provenance()}
    options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(page(questions, answers, found, train, options.rows), encoding="utf-8")
    print("\n".join(lines(found)))
    return found


if __name__ == "__main__":
    command(main)
