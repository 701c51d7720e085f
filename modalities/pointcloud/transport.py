"""Linear optimal transport: every cloud becomes a map from one fixed sphere, and such maps can be averaged.

    cloud x [N, 3]  ->  y [M, 3]: where point m of the sphere goes when the sphere's mass is moved onto the
                        cloud at the least squared distance

Clouds have no order; y has one, so that principal components of y make sense. Wang et al., A linear optimal
transportation framework for quantifying and visualizing variations in sets of images (IJCV 2013). The plan
is found by Sinkhorn's iteration (Cuturi, arXiv:1306.0895), annealed and stabilised as in Schmitzer,
arXiv:1610.06519; y is the mean of where the mass of a sphere point goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .sample import farthest, squared_distances

RADIUS = 0.7
QUICK = (0.05, 0.005)
SHARP = (0.1, 0.02, 0.005, 0.002)
"""Strengths of the entropic term, in squared units of the unit sphere, coarse to fine. `QUICK` is what codes
are made from: five milliseconds a cloud, and components as good as those of a converged plan."""
ROUNDS = 4


def sphere(count: int) -> Tensor:
    """`count` even points on a sphere [count, 3] in an order whose every prefix is even too.

    A Fibonacci lattice (Swinbank and Purser, 2006), put in the order of farthest point sampling.
    """
    place = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * place / count
    turn = math.pi * (1 + math.sqrt(5)) * place
    ring = (1 - z * z).sqrt()
    points = RADIUS * torch.stack([ring * turn.cos(), ring * turn.sin(), z], dim=1)
    return points[farthest(points[None], count)[0]].float()


def transport(cloud: Tensor, reference: Tensor, stages: Sequence[float] = QUICK) -> Tensor:
    """The map y [M, 3] of a cloud [N, 3] from the reference [M, 3]; no gradient.

    Clouds are taken one at a time: the plan [M, N] then fits the processor's cache, which is faster than a
    batch, and a cloud's map does not depend on its company.
    """
    with torch.no_grad():
        count, points = len(reference), len(cloud)
        cost = squared_distances(reference[None], cloud[None])[0]  # [M, N]
        f, g = cost.new_zeros(count, 1), cost.new_zeros(1, points)  # the dual potentials
        plan, v = cost, cost.new_ones(points)
        for strength in stages:
            plan = ((f + g) - cost).div_(strength)
            top = plan.amax(1, keepdim=True)
            plan.sub_(top).exp_()
            f = f - strength * top
            u = 1 / (count * plan.sum(1))
            for _ in range(ROUNDS):
                v = 1 / (points * (u @ plan)).clamp(min=1e-30)
                u = 1 / (count * (plan @ v)).clamp(min=1e-30)
            f, g = f + strength * u.log()[:, None], g + strength * v.log()[None]
        plan = plan * v
        return plan @ cloud / plan.sum(1, keepdim=True)


def transports(clouds: Tensor, reference: Tensor, stages: Sequence[float] = QUICK) -> Tensor:
    """`transport` of each cloud: [B, N, 3] -> [B, M, 3]."""
    return torch.stack([transport(cloud, reference, stages) for cloud in clouds])
