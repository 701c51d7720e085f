"""Differentiable augmentation of what a discriminator sees, so that few pictures do not teach it by heart.

Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738: colour, shift and
cut-out, drawn anew for each picture, on made and wanted pictures alike. Pictures are [B, 3, H, W] in [0, 1];
what is shifted in or cut out is mid-grey, the zero of the published range [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GREY = 0.5


class Augment(nn.Module):
    """Draws an augmentation for every picture.

    Args:
        color: change brightness (by up to 0.25), saturation (0 to 2 times) and contrast (0.5 to 1.5 times).
        shift: most that a picture moves, as a share of its side; 0 leaves it.
        cutout: side of the square that is cut out, as a share of the picture's; 0 leaves it.
    """

    def __init__(self, color: bool = True, shift: float = 0.125, cutout: float = 0.2) -> None:
        super().__init__()
        for name, share in (("shift", shift), ("cutout", cutout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is {share}: a share of the side, from 0 to below 1")
        self.color, self.shift, self.cutout = color, shift, cutout

    def forward(self, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augmented pictures [B, 3, H, W]; draws come from `generator`, or from torch's own."""
        if self.color:
            pictures = _color(pictures, _draws(pictures, 3, generator))
        if self.shift:
            pictures = _moved(pictures, self.shift, _draws(pictures, 2, generator))
        if self.cutout:
            pictures = _cut(pictures, self.cutout, _draws(pictures, 2, generator))
        return pictures


def _draws(pictures: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1): [count, B, 1, 1, 1]."""
    device = pictures.device if generator is None else generator.device
    drawn = torch.rand(count, len(pictures), 1, 1, 1, generator=generator, device=device)
    return drawn.to(pictures)


def _color(pictures: Tensor, u: Tensor) -> Tensor:
    pictures = pictures + (u[0] - 0.5) / 2
    grey = pictures.mean(1, keepdim=True)
    pictures = grey + (pictures - grey) * (2 * u[1])
    mean = pictures.mean((1, 2, 3), keepdim=True)
    return mean + (pictures - mean) * (0.5 + u[2])


def _moved(pictures: Tensor, share: float, u: Tensor) -> Tensor:
    """Each picture shifted by whole pixels, up to `share` of its side in both directions."""
    height, width = pictures.shape[2:]
    rows = _shifted(height, share, u[0].reshape(-1))
    columns = _shifted(width, share, u[1].reshape(-1))
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
    batch = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    found = pictures.permute(0, 2, 3, 1)[
        batch, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ]  # [B, H, W, 3]
    found = torch.where(inside[..., None], found, GREY)
    return found.permute(0, 3, 1, 2)


def _shifted(side: int, share: float, u: Tensor) -> Tensor:
    """Where each of the side's pixels is fetched from: int64 [B, side], possibly outside."""
    most = round(side * share)
    offset = (u * (2 * most + 1)).floor().long() - most
    return torch.arange(side, device=u.device) + offset[:, None]


def _cut(pictures: Tensor, share: float, u: Tensor) -> Tensor:
    """A grey rectangle of `share` of the sides; its middle lies anywhere, so part of it may lie outside."""
    inside = []
    for side, draw in zip(pictures.shape[2:], u, strict=True):
        length = round(side * share)
        first = (draw.reshape(-1, 1) * (side + 1 - length % 2)).floor() - length // 2
        place = torch.arange(side, device=pictures.device)
        inside.append((place >= first) & (place < first + length))  # [B, side]
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(hole, GREY, pictures)
