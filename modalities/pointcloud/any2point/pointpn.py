"""Point-PN's front end: a cloud as G centres with features, by three stages of farthest points and neighbours.

    PointPN(width=768, neighbours=64)(clouds [B, N, 3]) -> centres [B, N / 8, 3], features [B, N / 8, 768]

Parametric Point-NN (Zhang et al., arXiv:2303.08134, section 3.1) as Any2Point uses it (arXiv:2404.07989, section
3.1). A stage keeps every second point by farthest point sampling, looks at k neighbours among the points
before, joins their features with the centre's, adds sines and cosines of their offsets, refines by residual
layers and takes the maximum over the neighbours; channels double. Tensors are rows of channels throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sample import farthest, gather, nearest
from .fused import Stage

STAGES = 3
BLOCKS = (2, 1, 1)
LAST = 32
"""Inner width of the last stage; elsewhere it is half of the stage's width."""
BETA, ALPHA = 100.0, 1000.0
"""Scale of the offsets and base of the wavelengths (Point-NN's sine embedding)."""
IGNORED = 1e-3
"""The published sampling never chooses a point as near to the origin as this, squared."""


class Pointwise(nn.Module):
    """A 1x1 convolution over the last axis; the weight [out, in, 1 (, 1)] has the shape of released files."""

    def __init__(self, inner: int, outer: int, axes: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outer, inner, *[1] * axes))
        self.bias = nn.Parameter(torch.zeros(outer)) if bias else None
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        return F.linear(x, self.weight.flatten(1), self.bias)


class Residual(nn.Module):
    """Down to a bottleneck and back, each with batch normalisation, on rows [M, C]; in training see `fused`."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Sequential(Pointwise(width, inner, 2), nn.BatchNorm1d(inner))
        self.up = nn.Sequential(Pointwise(inner, width, 2), nn.BatchNorm1d(width))

    def forward(self, x: Tensor) -> Tensor:
        """x [M, C] -> [M, C], by running statistics."""
        return F.relu(F.linear(F.relu(F.linear(x, *_folded(self.down))), *_folded(self.up)) + x)

    def parameters_in_order(self) -> list[Tensor]:
        """As `fused.Layer` has them."""
        (down, norm1), (up, norm2) = self.down, self.up
        return [
            down.weight.flatten(1), down.bias, norm1.weight, norm1.bias, up.weight.flatten(1), up.bias,
            norm2.weight, norm2.bias,
        ]  # fmt: skip

    def remember(self, moments: Sequence[Tensor], count: int) -> None:
        """Take batch statistics (means and variances of both norms) of `count` rows into the running ones."""
        _remember(self.down[1], moments[0], moments[1], count)
        _remember(self.up[1], moments[2] + self.up[0].bias.detach(), moments[3], count)


def _folded(part: nn.Sequential) -> tuple[Tensor, Tensor]:
    """A linear layer and the norm behind it, by running statistics, as one weight and bias."""
    layer, norm = part
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return layer.weight.flatten(1) * scale[:, None], (layer.bias - norm.running_mean) * scale + norm.bias


@torch.no_grad()
def _remember(norm: nn.Module, mean: Tensor, variance: Tensor, count: int) -> None:
    assert isinstance(norm, nn.BatchNorm1d)
    momentum = norm.momentum or 0.0
    norm.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
    norm.running_var.lerp_(variance * (count / max(1, count - 1)), momentum)  # type: ignore[union-attr]
    norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]


class PointPN(nn.Module):
    """The front end.

    Args:
        width: channels of the features, a multiple of 48.
        neighbours: k.
        points: of a cloud; half, a quarter and an eighth of this become centres.
        offsets: divided by their "deviation" (ModelNet) or by the "reach" of each group and axis (ScanObjectNN).
        published: sample from point 0, never near the origin, and take the deviation over the whole batch.
    """

    def __init__(
        self,
        width: int,
        neighbours: int,
        points: int,
        offsets: Literal["deviation", "reach"],
        published: bool,
    ) -> None:
        super().__init__()
        if width % 48:
            raise ValueError(f"the front end is {width} wide: choose a multiple of 48")
        if points % 2**STAGES or neighbours > points // 2 ** (STAGES - 1):
            raise ValueError(
                f"points = {points} and neighbours = {neighbours}: points must be a multiple of {2**STAGES}, and the "
                f"last stage has only a quarter of them to choose neighbours from"
            )
        self.neighbours, self.points, self.offsets, self.published = neighbours, points, offsets, published
        first = width // 2**STAGES
        self.embed = nn.Sequential(Pointwise(3, first, 1, bias=False), nn.BatchNorm1d(first))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Residual(c, LAST if c == width else c // 2) for _ in range(blocks)))
            for blocks, c in zip(BLOCKS, (width // 4, width // 2, width), strict=True)
        )

    def forward(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Clouds [B, N, 3] -> centres [B, G, 3] in the order of choice, features [B, G, W].

        Raises:
            ValueError: clouds of another shape, or with fewer points than the first stage has centres.
        """
        if clouds.dim() != 3 or clouds.shape[2] != 3 or clouds.shape[1] < self.points // 2:
            raise ValueError(
                f"clouds of shape {list(clouds.shape)}: give [B, N, 3] with N of at least {self.points // 2}"
            )
        batch, count, _ = clouds.shape
        x = F.relu(self.embed(clouds.reshape(-1, 3))).reshape(batch, count, -1)
        order = self._order(clouds)
        points, centres, middle = clouds, gather(clouds, order), gather(x, order)
        for level, stage in enumerate(self.stages):
            kept = self.points >> (level + 1)
            at, middle = centres[:, :kept], middle[:, :kept]
            index = nearest(at, points, self.neighbours)
            offsets = self._scaled(gather(points, index) - at[:, :, None])
            rows = sines(offsets, 2 * x.shape[-1])  # [B, G, K, C]
            x = middle = self._refined(stage, x, middle, rows, index)
            points = at
        return points, x

    def _refined(self, stage: nn.Module, x: Tensor, middle: Tensor, rows: Tensor, index: Tensor) -> Tensor:
        """Features [B, G, C] of centres from x [B, N, C/2], those of centres, sines [B, G, K, C] and neighbours."""
        assert isinstance(stage, nn.Sequential)
        if self.training:
            parameters = [each for layer in stage for each in layer.parameters_in_order()]
            with torch.autocast(x.device.type, enabled=False):
                found, *moments = Stage.apply(
                    x.to(rows.dtype), middle.to(rows.dtype), rows, index, *parameters
                )
            for number, layer in enumerate(stage):
                layer.remember(moments[4 * number : 4 * number + 4], index.numel())
            return found
        made = []
        for cloud in range(len(x)):  # one at a time: what is made is large, and read at once
            around = gather(x[cloud : cloud + 1], index[cloud : cloud + 1])
            both = torch.cat([around, middle[cloud : cloud + 1, :, None].expand_as(around)], -1)
            made.append(stage((rows[cloud : cloud + 1] + both).flatten(0, 2)).reshape(both.shape).amax(2))
        return torch.cat(made)

    def _order(self, clouds: Tensor) -> Tensor:
        """The first stage's centres; those of later stages are the first of them (see `farthest`)."""
        with torch.no_grad():
            if self.published:
                return farthest(clouds, self.points // 2, first=0, ignored=IGNORED)
            return farthest(clouds, self.points // 2)

    def _scaled(self, offsets: Tensor) -> Tensor:
        """Offsets [B, G, K, 3] of neighbours in the units of the embedding."""
        if self.offsets == "reach":
            return offsets / offsets.abs().amax(2, keepdim=True).clamp(min=torch.finfo(offsets.dtype).tiny)
        if self.published:
            return offsets / (offsets.std() + 1e-5)
        return offsets / (offsets.flatten(1).std(1)[:, None, None, None] + 1e-5)


def sines(offsets: Tensor, width: int) -> Tensor:
    """Sine embedding of offsets [..., 3]: [..., width], an axis after the other, sines before cosines."""
    count = width // 6
    rate = BETA * ALPHA ** (-torch.arange(count, dtype=offsets.dtype, device=offsets.device) / count)
    angle = offsets[..., None] * rate  # [..., 3, count]
    found = offsets.new_empty(*angle.shape[:-1], 2, count)
    torch.sin(angle, out=found[..., 0, :])
    torch.cos(angle, out=found[..., 1, :])
    return found.flatten(-3)
