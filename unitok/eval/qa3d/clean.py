"""Answers compared as LEO does (Huang et al., arXiv:2311.12871): cleaned, equal, or one inside the other.

clean("The 2 chairs") -> "two chairs"
match("chair", ["brown chair"]) -> (False, True)      # exact, refined
"""

from __future__ import annotations

import re
from collections.abc import Sequence

KEPT = re.compile(r"[^a-zA-Z0-9,'\s\-:]+")
MISSPELT = {
    "letf": "left",
    "let": "left",
    "tehre": "there",
    "rigth": "right",
    "rght": "right",
    "behine": "behind",
    "tv": "TV",
    "chai": "chair",
    "wasing": "washing",
    "waslked": "walked",
    "oclock": "o'clock",
}
# fmt: off
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
# fmt: on
NAMED = {str(number): name for number, name in enumerate(NUMBERS)} | {"23": "twenty-three", "none": "zero"}
KNOWN = re.compile(rf"\b(?:{'|'.join((*MISSPELT, *NAMED))})\b")
CLOCK = re.compile(r"\bo'[ ]+clock\b")
NUMBERED = re.compile(r"\b([a-zA-Z]+)[0-9]\b")
ARTICLES = tuple(re.compile(rf"\b{article} ([a-zA-Z]+)") for article in ("a", "an", "the"))


def clean(answer: str) -> str:
    """An answer in lower case, its spaces squeezed, signs and articles dropped, numbers up to 20 in words.

    Letters beyond a-z are signs too; the 11 misspellings that SQA3D's answers have are mended.
    """
    answer = re.sub(" {2,}", " ", answer.lower().strip(" "))
    answer = KEPT.sub("", answer)
    answer = KNOWN.sub(lambda word: MISSPELT.get(word.group()) or NAMED[word.group()], answer)
    answer = CLOCK.sub("o'clock", answer)
    answer = NUMBERED.sub(r"\1", answer)
    for article in ARTICLES:
        answer = article.sub(r"\1", answer)
    return re.sub(r"\bbackwards\b", "backward", answer)


def match(answer: str, references: Sequence[str]) -> tuple[bool, bool]:
    """Whether a cleaned answer is one of the cleaned references, and whether it is or lies inside one or round one.

    Spaces do not count for the second. An empty answer is never right, nor is one beside a reference of which nothing is
    left (LEO's script finds that one inside every answer).
    """
    answer, wanted = clean(answer), [clean(one) for one in references]
    if not answer:
        return False, False
    if answer in wanted:
        return True, True
    tight = "".join(answer.split())
    inside = ("".join(text.split()) for text in wanted)
    return False, any(one and (tight in one or one in tight) for one in inside)
