"""FlexTok's flow around a linear picture: a start for small networks and short runs. Not part of FlexTok as published.

A flow from noise that is trained for minutes has hardly a picture in it. With this path the codes start as principal
components, coarse ones first, as `modalities.image.linear` has them, so that any first codes are a picture from the
first step on; and the flow starts as the exact one for pictures that lie about the linear picture c in a bell of
spread s, which the transformer then corrects:

    v = a (x - (1 - t) c) - c + (s / d) out,    a = (t - (1 - t) s^2) / d^2,    d^2 = t^2 + (1 - t)^2 s^2

The network is given (x - (1 - t) c) / d, of unit spread at all times, as Karras et al. (arXiv:2206.00364) do, and c.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST = 1e-2
"""Least spread about a linear picture."""


class Around(NamedTuple):
    """Linear pictures as latents c [B, C, h, w], and the spread s [B, C, 1, 1] of true ones about them."""

    c: Tensor
    s: Tensor

    def _d(self, t: Tensor) -> Tensor:
        return (t**2 + ((1 - t) * self.s) ** 2).sqrt()

    def unit(self, noisy: Tensor, t: Tensor) -> Tensor:
        """What the network is given of noisy latents [B, C, h, w] at times t [1 or B, 1, 1, 1]."""
        return (noisy - (1 - t) * self.c) / self._d(t)

    def velocity(self, noisy: Tensor, t: Tensor, out: Tensor) -> Tensor:
        """The velocity, of what the network gave."""
        d = self._d(t)
        a = (t - (1 - t) * self.s**2) / d**2
        return a * (noisy - (1 - t) * self.c) - self.c + self.s / d * out


class Spread(nn.Module):
    """How far pictures lie from linear ones of k codes, by channel of the latents: a table [K + 1, C]."""

    table: Tensor

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.ones(tokens + 1, channels))

    def forward(self, keep: Tensor) -> Tensor:
        """Of as many codes as keep [B] says: [B, C, 1, 1]."""
        return self.table[keep.to(self.table.device)].clamp(min=LEAST)[..., None, None]


def kept(z_q: Tensor, keep: Tensor, tokens: int) -> Tensor:
    """Codes' latents [B, k, D], of which the first keep [B] count, as [B, K, D]: the others are those of the mean."""
    z_q = F.pad(z_q, (0, 0, 0, tokens - z_q.shape[1]))
    here = torch.arange(tokens, device=z_q.device) < keep.to(z_q.device).unsqueeze(1)
    return z_q * here.unsqueeze(-1)
