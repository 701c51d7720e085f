"""Chamfer distance by match-then-gather: find the pairs without gradient, differentiate only the pairs.

CD1 = (mean over a of the distance to the nearest b + mean over b of the distance to the nearest a) / 2,
distances not squared. CD2 is the same with squared distances. Clouds are meant to be in the unit sphere;
how many points each has matters (two random samplings of one shape are not at distance 0), so say it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .sample import gather, squared_distances


class Matches(NamedTuple):
    """Nearest neighbours: `forth` [B, N] indexes b for each a, `back` [B, M] indexes a for each b."""

    forth: Tensor
    back: Tensor


def match(a: Tensor, b: Tensor) -> Matches:
    """Nearest neighbours between a [B, N, 3] and b [B, M, 3], without gradient."""
    with torch.no_grad():
        distances = squared_distances(a, b)
        return Matches(distances.min(2).indices, distances.min(1).indices)  # faster than argmin


def gaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances of the matched pairs, [B, N] and [B, M], with gradient to both clouds."""
    forth, back = match(a, b)
    return (a - gather(b, forth)).square().sum(-1), (b - gather(a, back)).square().sum(-1)


def cd1(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distance, not squared, mean of both directions: [B]."""
    forth, back = gaps(a, b)
    return (root(forth).mean(1) + root(back).mean(1)) / 2


def cd2(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distance of squared distances, mean of both directions: [B]."""
    forth, back = gaps(a, b)
    return (forth.mean(1) + back.mean(1)) / 2


def f_score(a: Tensor, b: Tensor, threshold: float) -> Tensor:
    """Harmonic mean of the shares of a near b and of b near a (Tatarchenko et al., arXiv:1905.03678): [B]."""
    forth, back = ((gap <= threshold**2).float().mean(1) for gap in gaps(a, b))
    return 2 * forth * back / (forth + back).clamp(min=1e-9)


def root(squared: Tensor) -> Tensor:
    """Square root whose gradient at 0, a perfect match, is 0 and not nan."""
    return (squared + 1e-12).sqrt()
