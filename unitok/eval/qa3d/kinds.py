"""The types into which ScanQA and SQA3D divide their questions.

scanqa("Where is the lamp?") -> "Place"
sqa3d("Can I see the lamp?") -> "Can"
"""

from __future__ import annotations

SCANQA = (
    ("Place", ("Where",)),
    ("Number", ("How many",)),
    ("Color", ("What color", "What is the color")),
    ("Object nature", ("What shape", "What type", "What kind")),
    ("Object", ("What is",)),
)
SQA3D = ("What", "Is", "How", "Can", "Which")


def scanqa(question: str) -> str:
    """The first type one of whose phrases is in the question, with that case, else "Other" (ScanQA's scripts/score.py)."""
    for name, phrases in SCANQA:
        if any(phrase in question for phrase in phrases):
            return name
    return "Other"


def sqa3d(question: str) -> str:
    """By the letters that the question begins with, in any case, else "Others" (LEO's data/data_utils.py)."""
    start = question.lstrip().lower()
    return next((name for name in SQA3D if start.startswith(name.lower())), "Others")
