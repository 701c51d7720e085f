"""Objects in one cloud of a room: walls and floor taken away, what is left gathered into clusters; or given boxes.

    propose(room) -> [int64 [n1], int64 [n2], ...]       # indices of each object's points, the most points first

Planes are found by RANSAC (Fischler & Bolles 1981) and clusters by DBSCAN (Ester et al. 1996), both in open3d, which
is imported when `propose` is called. A plane is taken away only if it bounds the room, that is, if hardly any point lies
behind it: table tops and seats stay.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .io import import_open3d

BEHIND = 0.02
"""Share of the points that may lie behind a plane that bounds the room."""
TRIALS = 1000
CORE = 10
"""Points within `gap` of one that make it the core of a cluster."""


def propose(
    points: Tensor,
    *,
    planes: int = 7,
    thickness: float = 0.03,
    share: float = 0.05,
    gap: float = 0.1,
    least: int = 40,
    seed: int = 0,
) -> list[Tensor]:
    """Clusters of a room's points without its floor, walls and ceiling.

    Args:
        points: float [n, 3] in metres.
        planes: most planes that are looked at.
        thickness: how far a plane's points are from it, metres.
        share: of the points that are left, the least that make a plane.
        gap: how near the points of a cluster are to one another, metres.
        least: points of the smallest cluster that is kept.
        seed: of the planes' random samples.

    Returns:
        Indices into the points, int64 [m] each; empty if nothing is left.

    Raises:
        ImportError: open3d is missing or does not load.
    """
    try:
        open3d = import_open3d()
    except ImportError as error:
        reason = str(error).removeprefix("this format needs open3d, which ")
        raise ImportError(f"object proposals need open3d: {reason}; or give boxes") from error
    open3d.utility.random.seed(seed)
    left = _without_planes(open3d, points.double(), planes, thickness, share)
    if not len(left):
        return []
    labels = torch.tensor(
        _cloud(open3d, points[left].double()).cluster_dbscan(eps=gap, min_points=CORE), dtype=torch.long
    )
    found = [left[labels == label] for label in range(int(labels.max()) + 1)]
    return sorted((one for one in found if len(one) >= least), key=len, reverse=True)


def inside(points: Tensor, boxes: Any) -> list[Tensor]:
    """Indices of the points in each box [k, 2, 3] (lowest and highest corner, both within).

    Raises:
        ValueError: another shape, a corner that is not the lower one, or a box without points; its number is named.
    """
    try:
        corners = torch.as_tensor(boxes, dtype=points.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"boxes are no numbers ({error}): give [k, 2, 3], lowest and highest corner"
        ) from error
    if corners.dim() != 3 or corners.shape[1:] != (2, 3):
        raise ValueError(f"boxes of shape {list(corners.shape)}: give [k, 2, 3], lowest and highest corner")
    found = []
    for number, (low, high) in enumerate(corners):
        if bool((low > high).any()):
            raise ValueError(
                f"box {number} has its lowest corner {low.tolist()} above {high.tolist()}: swap them"
            )
        index = ((points >= low) & (points <= high)).all(1).nonzero()[:, 0]
        if not len(index):
            raise ValueError(
                f"box {number} from {low.tolist()} to {high.tolist()} holds no point: check its unit and frame"
            )
        found.append(index)
    return found


def _without_planes(open3d: Any, points: Tensor, planes: int, thickness: float, share: float) -> Tensor:
    """Indices of the points that are on no plane that bounds the room."""
    left = kept = torch.arange(len(points))  # `left` is searched, `kept` also holds planes within the room
    for _ in range(planes):
        if len(left) < 3 * CORE:
            break
        model, on = _cloud(open3d, points[left]).segment_plane(thickness, 3, TRIALS)
        if len(on) < share * len(left):
            break
        index = left[torch.tensor(on, dtype=torch.long)]
        distance = points @ torch.tensor(model[:3]) + model[3]
        if (
            min(float((distance > thickness).double().mean()), float((distance < -thickness).double().mean()))
            < BEHIND
        ):
            near = (distance.abs() <= thickness).nonzero()[:, 0]
            kept = kept[~torch.isin(kept, near)]
        left = left[~torch.isin(left, index)]
    return kept


def _cloud(open3d: Any, points: Tensor) -> Any:
    return open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.numpy()))
