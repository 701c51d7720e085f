"""Virtual projection: where points of a cloud fall on a source's line or plane, and what positions they get.

    virtual_projection_1d(centres [B, G, 3]) -> places [B, 6, G] on a line of 77 positions
    virtual_projection_2d(centres [B, G, 3]) -> pixels [B, 6, G, 2] on a canvas of 518 x 518
    line_positions(table [L, C], places)     -> [B, G, C], the mean of the six views
    plane_positions(table [R * C, W], pixels, …) -> [B, G, W]

Any2Point (arXiv:2404.07989), section 3.2: nothing is rendered, each point only borrows the position embeddings
of the places where six views see it. `compat` is "paper", or "official" or "fixed" for what the published code
computes: there a place is moved by half a step and wraps round, a line is rescaled by the largest span in the
batch, and ("official" alone) positions sampled on a plane are read with channels and tokens interchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from .config import Compat

TURNS = ((0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1), (0, -1, 1), (0, 1, 1))
"""The six views: quarter turns about x, y and z."""
VIEWS = len(TURNS)
NEAR = 1e-3
"""Nothing is seen from closer than this."""


def rotations() -> Tensor:
    """Rotations of the views, float32 [6, 3, 3]: a point p is seen as R p, R = Rx Ry Rz; all entries -1, 0 or 1."""
    cos, sin = (1, 0, -1, 0), (0, 1, 0, -1)
    found = []
    for turn in TURNS:
        (cx, sx), (cy, sy), (cz, sz) = ((float(cos[t % 4]), float(sin[t % 4])) for t in turn)
        x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        found.append(x @ y @ z)
    return torch.stack(found)


def virtual_projection_1d(
    centres: Tensor,
    direction: Sequence[float] = (1.0, -1.0, 0.0),
    length: int = 77,
    compat: Compat = "paper",
) -> Tensor:
    """Places [B, 6, G] of centres [B, G, 3] along a line that is turned into six views.

    Args:
        direction: of the line in the first view's frame; its length does not matter.
        length: how many positions the line has. Each cloud spans all of it in each view: "paper" puts its ends
            at 0 and length - 1, the published code at -1/2 and length - 1/2, modulo length.
        compat: see the module.
    """
    d = centres.new_tensor(list(direction))
    lines = (d / d.norm()) @ rotations().to(centres)  # [6, 3]: R^T d
    along = (centres[:, None] * lines[None, :, None]).sum(-1)  # [B, 6, G]
    low, high = along.amin(-1, keepdim=True), along.amax(-1, keepdim=True)
    share = (along - low) / (high - low).clamp(min=torch.finfo(along.dtype).tiny)
    if compat == "paper":
        return share * (length - 1)
    return (share * length - 0.5) % length


def virtual_projection_2d(
    centres: Tensor,
    distance: float = -1.4,
    canvas: tuple[int, int] = (518, 518),
    stretch: float = 1.0,
    compat: Compat = "paper",
) -> Tensor:
    """Pixels (x, y) [B, 6, G, 2] of centres [B, G, 3] in the unit sphere, in six perspective views.

    Args:
        distance: of the eye from the origin, along its own axis; below -1.
        canvas: (height, width) in pixels. Beyond its edge "paper" keeps the edge's last pixel, the published code
            goes on from the other edge.
        stretch: of y; 304 / 192 in the published audio model.
        compat: see the module.
    """
    seen = torch.einsum("vij,bgj->bvgi", rotations().to(centres), centres)
    depth = (seen[..., 2] - distance).clamp(min=NEAR)
    height, width = canvas
    x = (seen[..., 0] / depth + 1) * width / 2 - 0.5
    y = (stretch * seen[..., 1] / depth + 1) * height / 2 - 0.5
    if compat == "paper":
        return torch.stack([x.clamp(0, width - 1), y.clamp(0, height - 1)], -1)
    return torch.stack([x % width, y % height], -1)


def line_positions(table: Tensor, places: Tensor, compat: Compat = "paper") -> Tensor:
    """Positions [B, G, C] from a table [L, C] at places [B, 6, G]: linear between neighbours, mean of the views."""
    last = len(table) - 1
    if compat != "paper":  # measured in the span of the batch, and 0 where both neighbours are one
        span = (places.amax() - places.amin()).clamp(min=torch.finfo(places.dtype).tiny)
        places = places * (last / span)
        left, right = (end.long().clamp(0, last) for end in (places.floor(), places.ceil()))
        weights = torch.stack([right - places, places - left], -1)
    else:
        left = places.floor().long().clamp(0, max(last - 1, 0))
        right = (left + 1).clamp(max=last)
        weights = torch.stack([1 - (places - left), places - left], -1)
    return _looked_up(table, torch.stack([left, right], -1), weights)


def plane_positions(
    table: Tensor, pixels: Tensor, grid: tuple[int, int], canvas: tuple[int, int], compat: Compat = "paper"
) -> Tensor:
    """Positions [B, G, C] from a table [rows * columns, C] at pixels [B, 6, G, 2]: bilinear, mean of the views.

    The table's outermost rows and columns lie on the first and last pixels; beyond them is 0.
    """
    rows, columns = grid
    height, width = canvas
    x = pixels[..., 0] / max(width - 1, 1) * (columns - 1)
    y = pixels[..., 1] / max(height - 1, 1) * (rows - 1)
    indices, weights = [], []
    for down in (0, 1):
        for right in (0, 1):
            column, row = x.floor() + right, y.floor() + down
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            indices.append(row.long().clamp(0, rows - 1) * columns + column.long().clamp(0, columns - 1))
            weights.append(share * inside)
    index, weight = torch.stack(indices, -1), torch.stack(weights, -1)  # [B, 6, G, 4]
    if compat != "official":
        return _looked_up(table, index, weight)
    batch, views, count, _ = index.shape
    each = (table[index] * weight[..., None]).sum(-2)  # [B, 6, G, C]
    return each.transpose(2, 3).reshape(batch, views, count, -1).mean(1)  # as if it were [B, 6, G, C]


def _looked_up(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Rows of a table [L, C] at index [B, 6, G, n], weighted and averaged over the views: [B, G, C]."""
    batch, views, count, _ = index.shape
    index, weights = (rearrange(x, "b v g n -> (b g) (v n)") for x in (index, weights))
    found = F.embedding_bag(index, table, per_sample_weights=weights.to(table.dtype) / views, mode="sum")
    return found.reshape(batch, count, -1)
