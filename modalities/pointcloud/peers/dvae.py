"""A dVAE of patches after Point-BERT (Yu et al., arXiv:2111.14819, section 3.1): the peer in reconstruction.

    clouds [B, N, 3] -> patches around farthest points -> logits -> codes [B, G] -> patches -> clouds [B, G * S, 3]

A small PointNet sees each patch, DGCNN layers (Wang et al., arXiv:1801.07829) let patches with near centres see each other
on both sides of the codes, and folding (Yang et al., arXiv:1712.07262) gives few points of each patch, then several around
each of these. The centres are GIVEN to the decoder: 3 G floats that no code stands for. So a cloud cannot be had from codes
alone, a language model cannot write one, and this is no modality.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange, repeat
from pydantic import Field
from torch import Tensor, nn

from unitok.strict import Strict

from ...common.quantize import Quantized
from ..network import PointNet, init_inward
from ..sample import gather, group, nearest
from .gumbel import Gumbel

SPAN = 4.0
"""Patches span about a quarter of the unit sphere; the networks see them at about its size."""
SLOPE = 0.2
"""Of the leaky rectifier, as in DGCNN."""


class DVAEConfig(Strict):
    """What builds a `PatchDVAE`. Groups, codes and points of a patch are Point-BERT's; its widths are 256 to 1,024."""

    inputs: int = Field(1024, ge=1, description="points of a cloud that are encoded")
    groups: int = Field(64, ge=1, description="patches, each one code")
    neighbours: int = Field(32, ge=1, description="points of an encoded patch")
    codes: int = Field(8192, ge=2, description="size of the codebook")
    width: int = Field(96, ge=1, description="channels of a code and of the networks")
    layers: int = Field(2, ge=1, description="DGCNN layers on each side of the codes")
    graph: int = Field(4, ge=1, description="patches that each patch sees in such a layer, itself among them")
    coarse: int = Field(8, ge=1, description="points of a decoded patch before folding")
    fold: int = Field(2, ge=1, description="side of the grid around each of them: so many squared in the end")

    @property
    def points(self) -> int:
        """Points of a decoded cloud."""
        return self.groups * self.coarse * self.fold**2


class Patches(NamedTuple):
    """Of a step: decoded patches [B, G, coarse, 3] and [B, G, S, 3], what was encoded [B, G, K, 3], the codes between."""

    coarse: Tensor
    fine: Tensor
    wanted: Tensor
    quantized: Quantized


class Mixer(nn.Module):
    """DGCNN over patches: features [B, G, W] and neighbours [B, G, k] -> [B, G, out].

    Each layer takes the maximum over neighbours j of f(x_j - x_i, x_i); the output sees all layers.
    """

    def __init__(self, width: int, layers: int, out: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(SLOPE))
            for _ in range(layers)
        )
        self.out = nn.Linear(width * (layers + 1), out)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        """Features of patches that have seen their neighbours."""
        seen = [x]
        for edge in self.edges:
            around, own = gather(x, near), x[:, :, None]
            x = edge(torch.cat([around - own, own.expand_as(around)], -1)).amax(2)
            seen.append(x)
        found: Tensor = self.out(torch.cat(seen, -1))
        return found


class Folding(nn.Module):
    """Features [B, G, W] -> points around the centre: [B, G, coarse, 3], and [B, G, coarse * fold ** 2, 3].

    Of the fine points every `coarse` in a row lie around different coarse ones.
    """

    plane: Tensor  # [fold ** 2, 2] in [-1, 1]

    def __init__(self, width: int, coarse: int, fold: int) -> None:
        super().__init__()
        self.rough = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, 2 * width), nn.GELU()
        )
        self.to_rough = nn.Linear(2 * width, 3 * coarse)
        self.feature, self.place = nn.Linear(width, width), nn.Linear(5, width, bias=False)
        self.bend = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3))
        side = torch.linspace(-1, 1, fold) if fold > 1 else torch.zeros(1)
        self.register_buffer("plane", torch.cartesian_prod(side, side), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse and fine points in the patch's own frame, at the size of the unit sphere."""
        coarse = rearrange(self.to_rough(self.rough(x)), "b g (c d) -> b g c d", d=3)
        count = coarse.shape[2]
        grid = repeat(self.plane, "f d -> b g (f c) d", b=len(x), g=x.shape[1], c=count)
        around = repeat(coarse, "b g c d -> b g (f c) d", f=len(self.plane))
        # the feature is the same for all points of a patch: its part of the first layer is worked out once
        bent = self.feature(x)[:, :, None] + self.place(torch.cat([around, grid], -1))
        return coarse, around + self.bend(bent)


class PatchDVAE(nn.Module):
    """Encoder, Gumbel-softmax codes, decoder of patches; `forward` gives what training compares."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = Gumbel(config.codes, config.width)
        self.pointnet = PointNet(config.width)
        self.before = Mixer(config.width, config.layers, config.codes)
        self.after = Mixer(config.width, config.layers, config.width)
        self.folding = Folding(config.width, config.coarse, config.fold)
        for part in (self.pointnet, self.before, self.after):  # biases alone would give all patches one code
            part.apply(init_inward)

    def encode(self, clouds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Clouds [B, N, 3] in the unit sphere -> logits [B, G, codes], centres [B, G, 3], patches [B, G, K, 3]."""
        c = self.config
        centres, around = group(clouds, c.groups, min(c.neighbours, clouds.shape[1]))
        logits = self.before(self.pointnet(SPAN * around), self._near(centres))
        return logits, centres, around

    def patches(self, z_q: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [B, G, W] of codes and the centres given -> coarse and fine points relative to the centres."""
        coarse, fine = self.folding(self.after(z_q, self._near(centres)))
        return coarse / SPAN, fine / SPAN

    def decode(self, ids: Tensor, centres: Tensor) -> Tensor:
        """Codes [B, G] and centres [B, G, 3] -> clouds [B, G * S, 3], of which any first points lie in all patches."""
        _, fine = self.patches(self.quantizer.lookup(ids), centres)
        return rearrange(fine + centres[:, :, None], "b g s d -> b (s g) d")

    def forward(self, clouds: Tensor) -> Patches:
        """Encode and decode clouds [B, N, 3]."""
        logits, centres, around = self.encode(clouds)
        quantized: Quantized = self.quantizer(logits)
        return Patches(*self.patches(quantized.z_q, centres), around, quantized)

    def _near(self, centres: Tensor) -> Tensor:
        return nearest(centres, centres, min(self.config.graph, centres.shape[1]))
