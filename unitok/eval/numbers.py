"""Answers that are numbers or single words: what counts as one, and how far they are off.

number("-0.25") -> -0.25; number("about 3") -> None
scored(wanted, given, train) -> {"n", "mae", "numbers", "median_mae"} or {"n", "right", "commonest"}
compared(modality, pairs) -> {"n", "answered", and the means of its own measures}
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from unitok.modality import Item, Modality

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def number(text: str) -> float | None:
    """The answer as a number: the whole of it must be one, apart from spaces and a full stop."""
    found = NUMBER.fullmatch(text.strip().rstrip("."))
    return float(found.group()) if found else None


def scored(wanted: Sequence[str], given: Sequence[str], train: Sequence[str]) -> dict[str, Any]:
    """Figures of one kind of question.

    Where all right answers are numbers: the mean absolute error over the answers that are numbers, the share that
    are, and the error of the training answers' median. Else the share that is right, and that of always giving the
    commonest training answer.
    """
    values = [number(one) for one in wanted]
    if all(value is not None for value in values):
        told = [number(one) for one in given]
        errors = [abs(a - b) for a, b in zip(values, told, strict=True) if a is not None and b is not None]
        known = [value for value in map(number, train) if value is not None]
        middle = statistics.median(known) if known else None
        return {
            "n": len(wanted),
            "mae": statistics.fmean(errors) if errors else None,
            "numbers": len(errors) / len(wanted),
            "median_mae": None
            if middle is None
            else statistics.fmean(abs(value - middle) for value in values if value is not None),
        }
    common = Counter(train).most_common(1)[0][0] if train else None
    return {
        "n": len(wanted),
        "right": statistics.fmean(a.strip() == b.strip() for a, b in zip(wanted, given, strict=True)),
        "commonest": statistics.fmean(a == common for a in wanted),
    }


def compared(modality: Modality, pairs: Sequence[tuple[Item, Sequence[Item]]]) -> dict[str, Any]:
    """Means of `Modality.compare` over the pairs (wanted, given) that have an answer; each measure over those that have it."""
    found = [modality.compare(wanted, given[0]) for wanted, given in pairs if given]
    measures = sorted({name for one in found for name in one})
    means = {name: statistics.fmean(one[name] for one in found if name in one) for name in measures}
    return {"n": len(pairs), "answered": len(found) / len(pairs), **means}
