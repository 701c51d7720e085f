"""From logits to one id per row: temperature -> top-k -> top-p -> one uniform number.

Guidance comes before, on raw logits, and then the grammar's mask. The id is drawn by inverting the cumulative distribution at a
uniform number that belongs to the row and the step alone, so that what a row becomes does not depend on
the rows beside it. Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

COLDEST = 1e-3  # under it, dividing by the temperature loses what tells logits apart


class Choice(NamedTuple):
    """How ids are chosen. temperature 0 takes the likeliest; top_k 0 and top_p 1 are off."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def check(self) -> Choice:
        """Itself, if every number is in its range.

        Raises:
            ValueError: names the number and its range.
        """
        if self.temperature != 0 and not COLDEST <= self.temperature < float("inf"):
            raise ValueError(
                f"temperature is {self.temperature}: it must be finite and at least {COLDEST}, or 0 for the likeliest"
            )
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}: it must be at least 0 (0 = off)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: it must be over 0 and at most 1 (1 = off)")
        return self


def uniforms(seed: int | Sequence[int], rows: int, steps: int) -> Tensor:
    """Uniform numbers in [0, 1), float64 [rows, steps]; a row's are a function of its seed alone.

    One seed for all gives row i the stream (seed, i); a sequence gives each row the stream that its seed
    gives a lone row. More steps only lengthen a stream.

    Raises:
        ValueError: not one seed per row.
    """
    keys = [(seed, i) for i in range(rows)] if isinstance(seed, int) else [(s, 0) for s in seed]
    if len(keys) != rows:
        raise ValueError(f"{len(keys)} seeds were given for {rows} rows: give one seed, or one per row")
    words = [np.array([s % 2**64, i], dtype=np.uint64) for s, i in keys]
    streams = [np.random.Generator(np.random.Philox(key=word)).random(steps) for word in words]
    return torch.from_numpy(np.stack(streams)) if streams else torch.zeros(0, steps, dtype=torch.float64)


def choose(logits: Tensor, uniform: Tensor, how: Choice) -> Tensor:
    """One id per row.

    Args:
        logits: [B, V], -inf for ids that must not come; at least one per row may.
        uniform: float64 [B] in [0, 1).
        how: temperature, top-k, top-p.

    Returns:
        int64 [B]; never an id with -inf.

    Raises:
        ValueError: a logit is NaN or +inf, or all of a row are -inf.
    """
    if how.temperature == 0:
        best, at = logits.max(-1)
        _check(best.isfinite())
        return at
    if how.temperature != 1:
        logits = logits / how.temperature
    ids = None
    size = logits.shape[-1]
    if how.top_p < 1 or 0 < how.top_k < size:
        logits, ids = logits.topk(min(how.top_k or size, size), dim=-1)  # sorted, likeliest first
    p = logits.softmax(-1)
    if how.top_p < 1:
        before = p.cumsum(-1) - p
        p = torch.where(before < how.top_p, p, 0.0)
    at = _invert(p, uniform)
    return at if ids is None else ids.gather(1, at[:, None])[:, 0]


def _invert(p: Tensor, uniform: Tensor) -> Tensor:
    """The first index at which the cumulative sum of p passes `uniform` of the total: never one with p 0."""
    total = p.cumsum(-1, dtype=torch.float64)
    last = total[:, -1:]
    _check(last > 0)  # not so if a logit was NaN or infinite
    return torch.searchsorted(total, uniform[:, None] * last, right=True)[:, 0]


def _check(sound: Tensor) -> None:
    if not sound.all():
        raise ValueError(
            "the model gave logits that are not finite: its weights are damaged or have diverged"
        )
