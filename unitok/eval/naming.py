"""Which of a closed set of labels an item has: weighed by likelihood, or matched in what a model says in words.

likeliest(sampler, questions, ["chair", "bar stool"]) -> ["chair", ...]
label_in("This is a bar stool.", ["chair", "bar stool", "stool"]) -> "bar stool"
figures(wanted, given) -> {"n", "right", "mean_right", "no_label"}
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from unitok.document import Document, segment
from unitok.eval.likelihood import likelihoods
from unitok.generate import Sampler


def likeliest(sampler: Sampler, questions: Sequence[Document], labels: Sequence[str]) -> list[str]:
    """For each question the label whose nats per token are fewest: nothing is drawn, and long labels lose nothing.

    Args:
        sampler: the model, whose vocabulary has text.
        questions: chats that end with the user.
        labels: the possible answers.
    """
    text = sampler.modalities[sampler.vocabulary.text or ""]
    options = [[segment(text, label)] for label in labels]
    costs = likelihoods(sampler.decoder, sampler.vocabulary, [(question, options) for question in questions])
    return [
        labels[min(range(len(labels)), key=lambda at, line=line: line[at].nats / line[at].tokens)]  # type: ignore[misc]
        for line in costs
    ]


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """The longest label that stands in a text as whole words, in any case; of equals the one that comes first."""
    best: tuple[int, int, str] | None = None
    for label in labels:
        found = re.search(rf"(?<!\w){re.escape(label.lower())}(?!\w)", text.lower())
        if found and (best is None or (-len(label), found.start()) < best[:2]):
            best = (-len(label), found.start(), label)
    return best[2] if best else None


def figures(wanted: Sequence[str], given: Sequence[str | None]) -> dict[str, Any]:
    """How many, the share that is right, the mean over labels of that share, and the share without a label.

    Raises:
        ValueError: not one answer for each, or none.
    """
    if len(wanted) != len(given) or not wanted:
        raise ValueError(f"{len(wanted)} labels and {len(given)} answers: give one of each, at least one")
    right, total = Counter[str](), Counter(wanted)
    for label, said in zip(wanted, given, strict=True):
        right[label] += label == said
    return {
        "n": len(wanted),
        "right": right.total() / len(wanted),
        "mean_right": sum(right[label] / count for label, count in total.items()) / len(total),
        "no_label": sum(said is None for said in given) / len(wanted),
    }
