"""Answers that are numbers or single words: what counts as one, and how far they are off.

number("-0.25") -> -0.25; number("about 3") -> None
scored(wanted, given, train) -> {"n", "mae", "numbers", "median_mae"} or {"n", "right", "commonest"}
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
NAMED = re.compile(r"\bthe \w+ [A-Z][a-z]?\b")
OPENINGS = re.compile(r"^(Give the|What is its|What is) | of\W*$")


def number(text: str) -> float | None:
    """The answer as a number: the whole of it must be one, apart from spaces and a full stop."""
    found = NUMBER.fullmatch(text.strip().rstrip("."))
    return float(found.group()) if found else None


def kind(question: str) -> str:
    """What is asked, without the parts that it is asked of ("the second O") and the usual opening."""
    plain = NAMED.sub("_", " ".join(question.split())).strip(" ?.")
    return OPENINGS.sub("", plain).strip(" ?.")


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
