"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) inside chosen spans only.

Every guided row has a null row beside it, whose prompt has lost its condition and which is fed the same
sampled ids. On raw logits, before any mask: `u + s (c - u)`, c of the row and u of its null row. The
other convention, `(1 + s) c - s u`, is ours with s + 1. s = 1 is off: the row's own logits bit for bit,
which is why a row outside its guided spans is untouched.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor


def strengths(words: Sequence[str]) -> dict[str, float]:
    """Scales by block, of words such as "image=4.0".

    Raises:
        ValueError: another word, or two for one block.
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, scale = word.partition("=")
        try:
            number = float(scale)
        except ValueError:
            raise ValueError(f"guidance is written image=4.0, not {word!r}") from None
        if name in found:
            raise ValueError(f"{word!r} gives {name} a second scale: give each one")
        found[name] = number
    return found


def check(guidance: Mapping[str, float], names: Collection[str]) -> None:
    """Raise ValueError if a scale is for no block, or is not a finite number of at least 0."""
    for name, scale in guidance.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise ValueError(f"guidance is asked for {name!r}, which is no block of the vocabulary: {hint}")
        if not 0 <= scale < float("inf"):
            raise ValueError(f"guidance of {name!r} is {scale}: it must be finite and at least 0; 1 is off")


def scales(guidance: Mapping[str, float], blocks: Sequence[str | None]) -> list[float]:
    """Each row's scale from the block that is open in it."""
    return [1.0 if block is None else guidance.get(block, 1.0) for block in blocks]


def guide(logits: Tensor, scale: Sequence[float]) -> Tensor:
    """Guided logits [B, V] of raw logits [B, 2, V] (the row's and its null row's) and a scale per row."""
    conditional = logits[:, 0]
    if all(s == 1 for s in scale):
        return conditional
    null = logits[:, 1]
    s = torch.tensor(scale, dtype=logits.dtype, device=logits.device)[:, None]
    return torch.where(s == 1, conditional, null + s * (conditional - null))
