"""Baselines that see the questions alone: what a model must beat before its points are of any use.

    majority(questions, train)      the commonest answers of all
    by_type(questions, train)       the commonest answers to questions of the type
    nearest(questions, train)       the answers to the questions most alike

Each gives up to ten answers a question, the best first. They are fitted on training questions; without any, each
scene's questions are answered from those of all other scenes. Language models without any points come close to the
state of the art on ScanQA and SQA3D (arXiv:2504.04540), so figures without these lines say little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from unitok.eval.qa3d.formats import Question
from unitok.eval.qa3d.words import treebank

MOST = 10
NEIGHBOURS = 20
BLOCK = 1024
"""Questions that are compared with all training questions at once."""


def majority(questions: Sequence[Question], train: Sequence[Question] | None = None) -> dict[str, list[str]]:
    """The answers that most training questions have."""
    return _commonest(questions, train, lambda question: "")


def by_type(questions: Sequence[Question], train: Sequence[Question] | None = None) -> dict[str, list[str]]:
    """The answers that most training questions of the type have."""
    return _commonest(questions, train, lambda question: question.kind)


def nearest(questions: Sequence[Question], train: Sequence[Question] | None = None) -> dict[str, list[str]]:
    """Answers of the 20 most similar training questions, each with the similarity as its vote.

    Questions, with their situations, are compared by the cosine of their word counts, weighed by how rare a word is.
    """
    known = list(questions if train is None else train)
    index = _Index(known)
    scene = np.array([question.scene for question in known])
    found: dict[str, list[str]] = {}
    for start in range(0, len(questions), BLOCK):
        asked = questions[start : start + BLOCK]
        likeness = index.vectors([question.asked for question in asked]) @ index.known.T  # [asked, known]
        if train is None:
            likeness[np.array([question.scene for question in asked])[:, None] == scene[None]] = -1
        for question, line in zip(asked, likeness, strict=True):
            votes: dict[str, float] = defaultdict(float)
            for at in np.argsort(-line, kind="stable")[:NEIGHBOURS]:
                for answer in known[at].answers if line[at] >= 0 else ():
                    votes[answer] += float(line[at])
            found[question.id] = _best(votes)
    return found


class _Index:
    """Unit vectors of questions: counts of words, weighed by rarity."""

    def __init__(self, known: Sequence[Question]) -> None:
        texts = [set(treebank(question.asked)) for question in known]
        seen = Counter(word for words in texts for word in words)
        self.column = {word: at for at, word in enumerate(sorted(seen))}
        self.rarity = {word: math.log((1 + len(known)) / (1 + count)) + 1 for word, count in seen.items()}
        self.known = self.vectors([question.asked for question in known])

    def vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """[n, words]; a word that no training question has counts for nothing."""
        out = np.zeros((len(texts), len(self.column)), np.float32)
        for at, text in enumerate(texts):
            for word in treebank(text):
                if word in self.column:
                    out[at, self.column[word]] += self.rarity[word]
        length = np.linalg.norm(out, axis=1, keepdims=True)
        found: npt.NDArray[np.float32] = out / np.maximum(length, 1e-9)
        return found


def _commonest(
    questions: Sequence[Question], train: Sequence[Question] | None, key: Callable[[Question], str]
) -> dict[str, list[str]]:
    total: dict[str, Counter[str]] = defaultdict(Counter)
    scene: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for question in questions if train is None else train:
        total[key(question)].update(question.answers)
        if train is None:
            scene[question.scene, key(question)].update(question.answers)
    best: dict[tuple[str, str], list[str]] = {}
    for question in questions:
        place = (question.scene if train is None else "", key(question))
        if place not in best:
            best[place] = _best(total[place[1]] - scene[place])
    return {
        question.id: best[question.scene if train is None else "", key(question)] for question in questions
    }


def _best(counts: Mapping[str, float]) -> list[str]:
    return sorted(counts, key=lambda answer: -counts[answer])[:MOST]  # of equals the one that came first
