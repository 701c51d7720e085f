"""Side channels: companions of a position (3D shell, neighbours, coordinates), embedded and added.

A channel always runs, on absences too: under ZeRO-3 a module that ran on some ranks only would hang.
Its table starts at zero, so that a fresh channel changes nothing in a pretrained decoder.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from unitok.modality import Side


class EmbedIds(nn.Embedding):
    """Ids [B, T, width], -1 = absent, to the mean of the present ids' vectors [B, T, D]; none gives 0."""

    def forward(self, ids: Tensor) -> Tensor:
        """Embed one channel."""
        present = rearrange(ids >= 0, "b t w -> b t w 1")
        vectors = super().forward(ids.clamp(min=0)) * present  # [B, T, w, D]
        return vectors.sum(dim=2) / present.sum(dim=2).clamp(min=1)


class EmbedFloat(nn.Linear):
    """Features [B, T, width], zeros = absent, to vectors [B, T, D]; without bias, so that zeros give 0."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Embed one channel."""
        return super().forward(features.to(self.weight.dtype))


def build(side: Side, width: int) -> EmbedIds | EmbedFloat:
    """The module of one channel, its weights zero."""
    module = EmbedIds(side.size, width) if side.kind == "ids" else EmbedFloat(side.width, width)
    nn.init.zeros_(module.weight)
    return module


def absent(side: Side, tokens: Tensor) -> Tensor:
    """What a channel holds where nothing is known: [B, T, width] of -1 (ids) or 0 (float)."""
    shape = (*tokens.shape, side.width)
    if side.kind == "ids":
        return torch.full(shape, -1, dtype=torch.int64, device=tokens.device)
    return torch.zeros(shape, dtype=torch.float32, device=tokens.device)
