"""Budgets: how many codes an item may take, where every prefix of its codes is an item of its own.

    shares("pow2", lengths)              how likely each of the allowed lengths is, in training
    split(512, lengths, 12)              the lengths of 12 items that take 512 positions together
    longest(lengths, 40)                 the longest of them that a budget allows

`lengths` are the allowed numbers of codes in rising order; the last is all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

Kind = Literal["uniform", "pow2", "uniform_pow2", "log"]
"""Every allowed length alike; the powers of two (and the whole) alike; a uniform length rounded up to a power of
two, which makes long ones likely; the logarithm of the length uniform, which makes short ones likely."""


def shares(kind: Kind, lengths: Sequence[int], full: float = 0.0) -> list[float]:
    """The probability of each length.

    Args:
        kind: how it is drawn.
        lengths: the allowed ones.
        full: share of the items that keep everything in any case.

    Raises:
        ValueError: another kind, no lengths, or a share outside [0, 1].
    """
    if kind not in get_args(Kind):
        raise ValueError(f"lengths cannot be drawn {kind!r}: use one of {', '.join(get_args(Kind))}")
    if not lengths or not 0 <= full <= 1:
        raise ValueError(
            f"{len(lengths)} lengths, of which all in a share of {full}: need a length and 0 to 1"
        )
    last = lengths[-1]
    if kind == "uniform":
        weight = [1.0] * len(lengths)
    elif kind == "log":
        edges = [0, *lengths]
        weight = [math.log((high + 1) / (low + 1)) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    else:
        powers = [length for length in lengths if length == last or length & (length - 1) == 0]
        if kind == "pow2":
            weight = [float(length in powers) for length in lengths]
        else:  # a uniform number in 1 .. last, rounded up to the next of the powers
            below = dict(zip(powers, [0, *powers[:-1]], strict=True))
            weight = [float(length - below[length]) if length in below else 0.0 for length in lengths]
    total = sum(weight)
    found = [(1 - full) * each / total for each in weight]
    found[-1] += full
    return found


def longest(lengths: Sequence[int], budget: int) -> int:
    """The longest allowed length within a budget.

    Raises:
        ValueError: even the shortest is longer.
    """
    fit = [length for length in lengths if length <= budget]
    if not fit:
        raise ValueError(f"a budget of {budget} codes holds no item: the shortest has {lengths[0]}")
    return fit[-1]


def split(total: int, lengths: Sequence[int], count: int, frame: int = 2) -> list[int]:
    """Lengths of `count` items that together take at most `total` positions, as even as they can be.

    Args:
        total: positions for all items.
        lengths: the allowed numbers of codes.
        count: how many items.
        frame: positions that each item takes beside its codes (its marks).

    Raises:
        ValueError: they do not fit even at their shortest.
    """
    need = count * (lengths[0] + frame)
    if need > total:
        raise ValueError(
            f"{count} items need at least {need} positions, but the budget is {total}: give fewer items or more room"
        )
    found = [lengths[0]] * count
    left = total - need
    for shorter, longer in zip(lengths[:-1], lengths[1:], strict=True):
        for i in range(count):  # a round for each length: no item is two steps ahead of another
            if found[i] == shorter and longer - shorter <= left:
                found[i] = longer
                left -= longer - shorter
    return found
