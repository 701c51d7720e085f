"""One report of a set of answers: the model's figures beside those of baselines that see no scene, and all counts.

    report("scanqa", questions, answers, problems, train=None, lemma=lemma)
        -> {"n", "em1", "em10", "f1", …, "meteor", "by_type", "blind": {"by_type": …, "nearest": …}, "majority": …, …}

Plain data for JSON. Figures are 0 to 1 (CIDEr 0 to 10); `lines` prints them times 100, as the papers' tables have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unitok.eval.qa3d import blind
from unitok.eval.qa3d.formats import Question
from unitok.eval.qa3d.measures import Answers, Lemma, Split, meteor_of, scores
from unitok.eval.qa3d.words import treebank

SHOWN = (
    "em1",
    "em10",
    "f1",
    "clean_em",
    "refined_em",
    "bleu1",
    "bleu2",
    "bleu3",
    "bleu4",
    "meteor",
    "rougeL",
    "cider",
)
NOTED = 20
"""Problems that a report spells out."""
JUDGE = "not judged by GPT: text against the reference answer"
WAYS = {"model": "model", "by_type": "blind, question type", "nearest": "blind, nearest question", "majority": "majority answer"}  # fmt: skip


def report(
    name: str,
    questions: Sequence[Question],
    answers: Answers,
    problems: Sequence[str] = (),
    train: Sequence[Question] | None = None,
    lemma: Lemma | None = None,
    f1_reason: str | None = None,
    split: Split = treebank,
) -> dict[str, Any]:
    """Figures of a model's answers, of the baselines', and what was left out.

    Args:
        name: the format.
        questions: with references.
        answers: the model's by question id, the likeliest first; a question without one is wrong.
        problems: sentences on records that were left out.
        train: what the baselines are fitted on; None: for each scene, the questions of all others.
        lemma: as in `measures.scores`.
        f1_reason: why there is no lemma.
        split: as in `measures.scores`.
    """
    found = scores(questions, answers, lemma, split)
    value, reason = meteor_of(questions, answers, split)
    found["meteor"] = value
    if reason:
        found["meteor_reason"] = reason
    if lemma is None:
        found["f1_reason"] = f1_reason
    guesses = baselines(questions, train)
    lines = {way: scores(questions, given, lemma, split) for way, given in guesses.items()}
    for kind, line in found["by_type"].items():
        line["blind_em1"] = max(lines[way]["by_type"][kind]["em1"] for way in ("by_type", "nearest"))
    for line in lines.values():
        del line["by_type"]
    answered = sum(question.id in answers for question in questions)
    return {
        "format": name,
        **({"judge": JUDGE} if name == "mmvet" else {}),
        **found,
        "blind": {way: lines[way] for way in ("by_type", "nearest")},
        "majority": lines["majority"],
        "fitted_on": "training questions" if train is not None else "the questions of all other scenes",
        "answered": answered,
        "missing": len(questions) - answered,
        "problems": len(problems),
        "first_problems": list(problems[:NOTED]),
    }


def baselines(
    questions: Sequence[Question], train: Sequence[Question] | None
) -> dict[str, dict[str, list[str]]]:
    """What each baseline answers."""
    return {
        "by_type": blind.by_type(questions, train),
        "nearest": blind.nearest(questions, train),
        "majority": blind.majority(questions, train),
    }


def table(found: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Figures in the order of SHOWN, times 100, of the model and each baseline."""
    rows = {"model": found, **found["blind"], "majority": found["majority"]}
    return {
        WAYS[way]: [None if row.get(name) is None else 100 * row[name] for name in SHOWN]
        for way, row in rows.items()
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The report as text for a terminal."""
    yield f"{found['n']} questions, {found['answered']} answered; figures times 100"
    if "judge" in found:
        yield found["judge"]
    yield " ".join(f"{name:>10}" for name in ("", *SHOWN)).removeprefix(" " * 10).rjust(11 * len(SHOWN) + 26)
    for way, row in table(found).items():
        yield f"{way:26}" + "".join(f"{'–' if value is None else f'{value:.2f}':>11}" for value in row)
    for kind, row in found["by_type"].items():
        yield (
            f"  {kind:24} n {row['n']:5}  em1 {100 * row['em1']:6.2f}  refined_em {100 * row['refined_em']:6.2f}"
            f"  blind em1 {100 * row['blind_em1']:6.2f}"
        )
    for what in ("missing", "problems"):
        if found[what]:
            said = (
                "questions without an answer, counted as wrong" if what == "missing" else "records left out"
            )
            yield f"{found[what]} {said}"
    yield from found["first_problems"]
    if found.get("meteor_reason"):
        yield f"no METEOR: {found['meteor_reason']}"
