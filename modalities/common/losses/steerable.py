"""`steerable-ms`: a distance between pictures from fixed oriented filters, where no trained network is at hand.

It is what the early visual system is thought to compute, and learned from nothing: a pyramid of opponent
colours, first and second derivatives of a Gaussian at each level (Freeman & Adelson, The Design and Use of
Steerable Filters, 1991), each response divided by the local contrast (divisive normalisation, as in Laparra
et al., Perceptual image quality assessment using a normalized Laplacian pyramid, 2016). Compared are the
normalised responses (where edges lie), the logarithm of local contrast (how much texture there is: what
squared error lets fade) and the colours of the coarsest level. Smooth, without weights, the same on every
machine. It is not LPIPS and its values do not compare with those of LPIPS.

Pictures are [B, 3, H, W] in [0, 1], of 16 pixels a side and up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

NAME = "steerable-ms"
LEVELS = 5
SMALLEST = 8  # side of the coarsest level, in pixels
THRESHOLD = 0.02  # contrast below which differences fade, about five steps of an 8-bit picture
FILTERS = 5


class Level(NamedTuple):
    """One level of the pyramid: responses [B, 3, FILTERS, h, w], and the local contrast [B, 3, 1, h, w]."""

    responses: Tensor
    contrast: Tensor


class Steerable(nn.Module):
    """The filter bank: a distance between pictures, and figures of a picture for a Frechet distance."""

    name = NAME
    opponent: Tensor
    filters: Tensor
    smooth: Tensor

    def __init__(self) -> None:
        super().__init__()
        opponent = [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]]
        binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        # not persistent: a bank has nothing to save
        self.register_buffer("opponent", torch.tensor(opponent)[:, :, None, None], persistent=False)
        self.register_buffer("filters", _filters().repeat(3, 1, 1, 1), persistent=False)
        self.register_buffer("smooth", torch.outer(binomial, binomial)[None, None], persistent=False)

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """The mean distance of made and wanted pictures; 0 for equal ones, 1 to 2 for unrelated ones."""
        one, coarse_one = self.pyramid(made)
        two, coarse_two = self.pyramid(wanted)
        total = (coarse_one - coarse_two).square().mean()
        for a, b in zip(one, two, strict=True):
            edges = (a.responses / a.contrast - b.responses / b.contrast).square().sum(2).mean()
            texture = (a.contrast.log() - b.contrast.log()).square().mean()
            total = total + (edges + texture) / len(one)
        return total

    def statistics(self, pictures: Tensor) -> Tensor:
        """Figures of each picture, float32 [B, 7 * levels + 12], of spreads 0.2 to 1 over photographs.

        For each level the logarithms of the energy of each luma filter and of both chroma channels; then the
        mean colours of the four quarters.
        """
        levels, _ = self.pyramid(pictures)
        columns = []
        for level in levels:
            energy = level.responses.square().mean((3, 4))  # [B, 3, FILTERS]
            energy = torch.cat([energy[:, 0], energy[:, 1:].sum(2)], 1)
            columns.append(0.5 * (energy + THRESHOLD**2 / 4).log())
        colours = F.adaptive_avg_pool2d(self._opponent(pictures), 2)
        scale = colours.new_tensor([5.0, 20.0, 20.0])[:, None, None]  # chroma varies less than luma
        columns.append((colours * scale).flatten(1))
        return torch.cat(columns, 1)

    def pyramid(self, pictures: Tensor) -> tuple[list[Level], Tensor]:
        """All levels of pictures [B, 3, H, W] from fine to coarse, and the colours that remain below them.

        Raises:
            ValueError: pictures of under 16 pixels.
        """
        side = min(pictures.shape[2:])
        if side < 2 * SMALLEST:
            raise ValueError(
                f"pictures of {side} pixels are too small for {NAME}: it needs {2 * SMALLEST} or more"
            )
        x = self._opponent(pictures)
        levels = []
        for _ in range(min(LEVELS, int(math.log2(side / SMALLEST)) + 1)):
            levels.append(self._level(x))
            x = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self._smooth(3), stride=2, groups=3)
        return levels, x

    def _opponent(self, pictures: Tensor) -> Tensor:
        return F.conv2d(pictures, self.opponent.to(pictures.dtype))

    def _level(self, x: Tensor) -> Level:
        padded = F.pad(x, (3, 3, 3, 3), mode="reflect")
        responses = F.conv2d(padded, self.filters.to(x.dtype), groups=3)
        responses = rearrange(responses, "b (c f) h w -> b c f h w", c=3)
        energy = F.pad(responses.square().sum(2), (2, 2, 2, 2), mode="replicate")
        energy = F.conv2d(energy, self._smooth(3), groups=3)
        return Level(responses, (energy + THRESHOLD**2).sqrt().unsqueeze(2))

    def _smooth(self, channels: int) -> Tensor:
        return self.smooth.expand(channels, 1, 5, 5)


def _filters() -> Tensor:
    """Gaussian derivatives, [FILTERS, 1, 7, 7]: the first in x and y, the second at 0, 60 and 120 degrees.

    Each is free of mean and scaled so that an edge from 0 to 1 answers with about 1 at most.
    """
    y, x = torch.meshgrid(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0), indexing="ij")
    gauss = torch.exp(-(x.square() + y.square()) / 2)
    bank = [x * gauss, y * gauss]
    for angle in (0.0, math.pi / 3, 2 * math.pi / 3):
        along = math.cos(angle) * x + math.sin(angle) * y
        bank.append((along.square() - 1) * gauss)
    filters = torch.stack(bank)
    filters = filters - filters.mean((1, 2), keepdim=True)
    return (filters / (filters.abs().sum((1, 2), keepdim=True) / 2))[:, None]
