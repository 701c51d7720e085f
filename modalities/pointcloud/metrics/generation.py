"""Generated clouds against a reference set: minimum matching distance, coverage, 1-nearest-neighbour accuracy.

    compare(made [n, N, 3], reference [m, N, 3]) -> {"mmd": ..., "coverage": ..., "1-nna": ...}

MMD and coverage are those of Achlioptas et al. (arXiv:1707.02392, section 4), 1-NNA that of Yang et al. (PointFlow,
arXiv:1906.12320, section 5.1). The distance is CD2 as PointFlow has it: squared, means of both directions added.
Clouds are in the unit sphere; all need one number of points, for Chamfer distances depend on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..chamfer import cd2

CHUNK = 64
"""Clouds of the second set that one is compared with at a time."""


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distances [n, m] between clouds a [n, N, 3] and b [m, N, 3]."""
    rows = []
    for one in a:
        parts = [2 * cd2(one.expand(len(some), -1, -1), some) for some in b.split(CHUNK)]
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def compare(made: Tensor, reference: Tensor) -> dict[str, float]:
    """Figures of a set of generated clouds [n, N, 3] beside a reference set [m, N, 3].

    Returns:
        `mmd`: mean over references of the distance to the nearest generated cloud (0 at best); `coverage`: share of
        references that are the nearest of some generated cloud (1 at best); `1-nna`: share of clouds of the joined sets
        whose nearest other cloud is of their own set (0.5 at best, 1 where the sets are told apart).

    Raises:
        ValueError: an empty set, another number of points, or coordinates that are not finite.
    """
    for name, clouds in (("generated", made), ("reference", reference)):
        if clouds.dim() != 3 or clouds.shape[2] != 3 or 0 in clouds.shape:
            raise ValueError(f"{name} clouds of shape {list(clouds.shape)}: give [n, N, 3]")
        if not bool(clouds.isfinite().all()):
            bad = int((~clouds.isfinite()).flatten(1).any(1).nonzero()[0])
            raise ValueError(f"{name} cloud {bad} is not finite: leave it out")
    if made.shape[1] != reference.shape[1]:
        raise ValueError(
            f"generated clouds have {made.shape[1]} points and references {reference.shape[1]}: thin them to one number"
        )
    with torch.no_grad():
        between = distances(made.float(), reference.float())  # [n, m]
        within = distances(made.float(), made.float()), distances(reference.float(), reference.float())
    return {
        "mmd": float(between.amin(0).mean()),
        "coverage": float(between.argmin(1).unique().numel() / between.shape[1]),
        "1-nna": _told_apart(within[0], between, within[1]),
    }


def _told_apart(own: Tensor, between: Tensor, reference: Tensor) -> float:
    """1-NN accuracy, leaving the cloud itself out, from distances [n, n], [n, m] and [m, m]."""
    joined = torch.cat([torch.cat([own, between], 1), torch.cat([between.t(), reference], 1)])
    joined.fill_diagonal_(torch.inf)
    first = torch.arange(len(joined)) < len(own)
    return float((first[joined.argmin(1)] == first).float().mean())
