"""Arranging drafts: which template a document draws, how many items it holds, and which side of the text they stand on.

All draws are a hash of the record's key, the same on every machine and in every run.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from unitok.data.template import Draft, Part, joined


def chance(*words: str) -> float:
    """A number in [0, 1) that depends on the words alone."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8], "big") / 2**64


def drawn(made: Sequence[tuple[float, Sequence[Draft]]], key: str) -> list[Draft]:
    """One template for each document, by shares.

    Args:
        made: share and drafts of each template that the record can fill.
        key: of the record.

    Returns:
        As many drafts as the richest template has; the i-th is of the template that (key, i) draws.
    """
    made = [(share, drafts) for share, drafts in made if share > 0 and drafts]
    edges = list(accumulate(share for share, _ in made))
    out = []
    for variant in range(max((len(drafts) for _, drafts in made), default=0)):
        place = bisect_right(edges, chance(key, "shares", str(variant)) * edges[-1])
        drafts = made[min(place, len(made) - 1)][1]
        out.append(drafts[variant % len(drafts)])
    return out


def arranged(
    draft: Draft, key: str, variant: int, text: str | None, items: int | None, swap: float
) -> list[Draft]:
    """A plain draft as drafts of at most `items` items each, which with probability `swap` follow their text.

    Args:
        draft: a chat stays as it is, and so does a document with given parts: what they are given for follows them.
        key, variant: of the document; all drafts that it becomes are swapped, or none.
        text: name of the text block; parts of all other blocks are items.
        items: most items of a document; None = any number.
        swap: probability that each item trades places with the text right after it.
    """
    role, parts = draft.turns[0]
    if role is not None or any(part.given for part in parts):
        return [draft]
    swaps = chance(key, "swap", draft.form, str(variant)) < swap
    pieces = [list(parts)] if items is None else _pieces(parts, items, text)
    return [
        Draft(draft.form, ((None, tuple(_swapped(piece, text) if swaps else piece)),)) for piece in pieces
    ]


def _pieces(parts: Sequence[Part], items: int, text: str | None) -> list[list[Part]]:
    """Parts in pieces of at most `items` items; a piece begins with an item, for text belongs to the one before it."""
    out: list[list[Part]] = [[]]
    count = 0
    for part in parts:
        if part.block != text:
            if count == items:
                out.append([])
                count = 0
            count += 1
        out[-1].append(part)
    return out


def _swapped(parts: Sequence[Part], text: str | None) -> list[Part]:
    out = list(parts)
    at = 0
    while at + 1 < len(out):
        if out[at].block != text and out[at + 1].block == text:
            out[at], out[at + 1] = out[at + 1], out[at]
            at += 1
        at += 1
    return joined(out, text)
