"""The measures of 3D question answering, as the scripts of the papers define them. All are 0 to 1, CIDEr 0 to 10.

    scores(questions, answers, lemma) -> {"n", "em1", "em10", "f1", "clean_em", "refined_em", "bleu1", …, "cider", "by_type"}

- em1: the first answer equals a reference to the letter; em10: one of at most ten does (ScanQA). A model that gives
  one answer each has no em10.
- f1: 1 if em1, else the best F-value over the references of words as lemmas, where precision and recall count
  which words occur and not how often (ScanQA).
- clean_em, refined_em: see `unitok.eval.qa3d.clean` (LEO; on SQA3D refined_em is its headline).
- bleu1 to bleu4, rougeL, cider: of the COCO caption evaluation (`unitok.eval.caption`) over the first answers, on
  Treebank words as in ScanQA, or on what spaces separate as in LL3DA's evaluation.
- by_type: em1, clean_em, refined_em and n of each type of question.

A question without an answer counts as answered wrongly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from unitok.eval import caption
from unitok.eval.qa3d.clean import match
from unitok.eval.qa3d.formats import Question
from unitok.eval.qa3d.meteor import meteor
from unitok.eval.qa3d.words import treebank

Answers = Mapping[str, Sequence[str]]
"""Answers to each question by its id, the likeliest first."""
Lemma = Callable[[str], str]
Split = Callable[[str], list[str]]
BY_TYPE = ("em1", "clean_em", "refined_em")


def scores(
    questions: Sequence[Question], answers: Answers, lemma: Lemma | None, split: Split = treebank
) -> dict[str, Any]:
    """All measures but METEOR, which is slow.

    Args:
        questions: each with at least one reference.
        answers: by question; missing ones count as wrong.
        lemma: gives a word's lemma; without it f1 is None.
        split: gives a text's words for BLEU, ROUGE-L and CIDEr.

    Raises:
        ValueError: no question.
    """
    if not questions:
        raise ValueError("there is no question to score: give at least one")
    several = any(len(given) > 1 for given in answers.values())
    rows = [row(question, answers.get(question.id, ()), lemma) for question in questions]
    found: dict[str, Any] = {"n": len(questions), **_means(rows)}
    if not several:
        found["em10"] = None
    written, wanted = _texts(questions, answers, split)
    texts = caption.measures(written, wanted)
    found |= {"rougeL" if name == "rouge_l" else name: value for name, value in texts.items()}
    return {**found, "by_type": by_type(questions, rows)}


def meteor_of(
    questions: Sequence[Question], answers: Answers, split: Split = treebank
) -> tuple[float | None, str | None]:
    """METEOR 1.5 of the first answers, or None and why; see `unitok.eval.qa3d.meteor`."""
    written, wanted = _texts(questions, answers, split)
    return meteor([text.split() for text in written], [[text.split() for text in texts] for texts in wanted])


def row(question: Question, given: Sequence[str], lemma: Lemma | None) -> dict[str, float]:
    """The measures of one question that are means over questions."""
    first = given[0] if given else ""
    exact = bool(given) and first in question.answers
    clean, refined = match(first, question.answers)
    found = {
        "em1": float(exact),
        "em10": float(any(one in question.answers for one in given[:10])),
        "clean_em": float(clean),
        "refined_em": float(refined),
    }
    if lemma is not None:
        found["f1"] = 1.0 if exact else max(f_value(first, one, lemma) for one in question.answers)
    return found


def f_value(given: str, wanted: str, lemma: Lemma) -> float:
    """The harmonic mean of the shares of words, as lemmas, that occur in the other text; 0 for an empty one."""
    a, b = ([lemma(word) for word in text.split()] for text in (given, wanted))
    if not a or not b:
        return 0.0
    precision, recall = fmean(word in b for word in a), fmean(word in a for word in b)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def by_type(
    questions: Sequence[Question], rows: Sequence[Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Means of BY_TYPE and n for each type of question, the most frequent type first."""
    groups: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for question, one in zip(questions, rows, strict=True):
        groups[question.kind].append(one)
    order = sorted(groups, key=lambda kind: (-len(groups[kind]), kind))
    return {
        kind: {"n": len(groups[kind]), **{name: fmean(one[name] for one in groups[kind]) for name in BY_TYPE}}
        for kind in order
    }


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    names = ("em1", "em10", "f1", "clean_em", "refined_em")
    return {name: fmean(one[name] for one in rows) if name in rows[0] else None for name in names}


def _texts(
    questions: Sequence[Question], answers: Answers, split: Split
) -> tuple[list[str], list[list[str]]]:
    """First answers and references, words apart by spaces."""
    written = [" ".join(split(next(iter(answers.get(one.id, ())), ""))) for one in questions]
    return written, [[" ".join(split(text)) for text in one.answers] for one in questions]
