"""Choosing points of a cloud: unit sphere, Morton order, farthest points, nearest neighbours, groups.

Clouds are float32 [n, 3] or [B, N, 3]. Everything is plain torch, deterministic, and independent of the
order in which the points come once `canonical` has sorted them.
Farthest point sampling and grouping are those of PointNet++ (Qi et al., arXiv:1706.02413).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .slabs import farthest_of_one

MORTON_BITS = 10
SLABS = 2048
"""Clouds of so many points are sampled one at a time on a processor, which is then sooner done than a batch."""


class Unit(NamedTuple):
    """A cloud in the unit sphere and how to get back: points * radius + centre."""

    points: Tensor
    centre: Tensor
    radius: Tensor


def unit_sphere(points: Tensor) -> Unit:
    """Move the mean of a cloud [..., n, 3] to the origin and scale its farthest point to radius 1.

    A cloud of one place (radius 0) keeps radius 0 points at the origin; callers decide if that is an error.
    """
    centre = points.double().mean(-2, keepdim=True)  # double: the order of the points must not show
    moved = points.double() - centre
    radius = moved.norm(dim=-1, keepdim=True).amax(-2, keepdim=True)
    scaled = moved / radius.clamp(min=torch.finfo(torch.float32).tiny)
    return Unit(scaled.to(points.dtype), centre.to(points.dtype), radius.to(points.dtype))


def canonical(points: Tensor) -> Tensor:
    """Sort a cloud [n, 3] in the unit sphere along the Morton curve, ties by z, y, x: one order for all orders."""
    for axis in (0, 1, 2):  # least significant key first; stable sorts keep what came before
        points = points[torch.argsort(points[:, axis], stable=True)]
    grid = ((points + 1) * 2 ** (MORTON_BITS - 1)).long().clamp(0, 2**MORTON_BITS - 1)
    key = torch.zeros(len(points), dtype=torch.long, device=points.device)
    for bit in range(MORTON_BITS):
        for axis in range(3):
            key |= (grid[:, axis] >> bit & 1) << (3 * bit + axis)
    return points[torch.argsort(key, stable=True)]


def stride(points: Tensor, count: int) -> Tensor:
    """`count` of the points [n, 3] at even steps (each one several times if there are too few).

    Along the Morton curve this is a sample that covers the cloud more evenly than a random one.
    """
    return points[torch.arange(count, device=points.device) * len(points) // count]


def farthest(points: Tensor, count: int, *, first: int | None = None, ignored: float = 0.0) -> Tensor:
    """Farthest point sampling: indices int64 [B, count] into points [B, N, 3], in the order of choice.

    Starts with the point farthest from the mean, or with number `first`; ties go to the lower index. Any
    prefix of the answer is the answer for a smaller count, and so is sampling from the chosen points again
    beginning with the first of them. Points whose squared distance to the origin is at most `ignored` are
    chosen only as `first`, as the CUDA kernel of PointNet++ has it with .001.

    Raises:
        ValueError: more points are asked for than there are.
    """
    if not 0 < count <= points.shape[1]:
        raise ValueError(f"{count} farthest points of {points.shape[1]}: ask for 1 to {points.shape[1]}")
    if first is None:
        last = (points - points.mean(1, keepdim=True)).square().sum(-1).argmax(1)  # [B]
    else:
        last = torch.full((len(points),), first, dtype=torch.long, device=points.device)
    if (
        points.device.type == "cpu"
        and points.dtype == torch.float32
        and points.shape[1] >= SLABS
        and not ignored
    ):
        rows = points.detach().numpy()
        found = [farthest_of_one(row, count, at) for row, at in zip(rows, last.tolist(), strict=True)]
        return torch.from_numpy(np.stack(found))
    gap = points.new_full(points.shape[:2], torch.inf)  # squared distance to the chosen ones
    if ignored:
        gap = torch.where(points.square().sum(-1) <= ignored, -1.0, gap)
    chosen = [last]
    for _ in range(count - 1):
        here = points.gather(1, last[:, None, None].expand(-1, 1, 3))
        gap = torch.minimum(gap, (points - here).square().sum(-1))
        last = gap.argmax(1)
        chosen.append(last)
    return torch.stack(chosen, dim=1)


def nearest(queries: Tensor, points: Tensor, count: int) -> Tensor:
    """Indices int64 [B, Q, count] of the nearest of points [B, N, 3] to queries [B, Q, 3], nearest first."""
    if not 0 < count <= points.shape[1]:
        raise ValueError(f"{count} neighbours among {points.shape[1]} points: ask for 1 to {points.shape[1]}")
    return squared_distances(queries, points).topk(count, dim=-1, largest=False, sorted=True).indices


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [B, N, M] between a [B, N, 3] and b [B, M, 3]; rounding may leave them just below 0."""
    offset = a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None, :]
    return torch.baddbmm(offset, a, b.transpose(1, 2), alpha=-2)


def gather(points: Tensor, index: Tensor) -> Tensor:
    """Rows of points [B, N, C] at index [B, ...]: [B, ..., C]."""
    flat = index.flatten(1)
    found = points.gather(1, flat[:, :, None].expand(-1, -1, points.shape[-1]))
    return found.reshape(*index.shape, points.shape[-1])


def group(points: Tensor, centres: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """Patches of a cloud: farthest points as centres [B, G, 3], and neighbours relative to them [B, G, K, 3]."""
    at = gather(points, farthest(points, centres))  # [B, G, 3]
    around = gather(points, nearest(at, points, neighbours))  # [B, G, K, 3]
    return at, around - rearrange(at, "b g c -> b g 1 c")


def turns(angle: Tensor) -> Tensor:
    """Rotations about the up axis z by angles [B] in radians: [B, 3, 3], to be applied as points @ turn."""
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], dim=-1)
    return rearrange(rows, "... (r c) -> ... r c", r=3)
