"""GigaTok's Q-Former: transformers whose queries read a map of features, or give one back.

    Encoder(size, …)(features [B, C, h, w]) -> latents [B, K, C]
    Decoder(size, …)(latents [B, k, C]) -> features [B, C, h, w], tokens [B, h w, W] of an inner layer

Xiong et al., GigaTok, arXiv:2504.08736: layers of DETR's decoder (Carion et al., arXiv:2005.12872) in which
queries attend to one another, then to a memory that stays the same through all layers; positions join
queries and keys alone, in every layer. The encoder's K queries start as averages of ever smaller blocks of the
map, the decoder's h w queries all as the first latent.

The paper's two-dimensional ablations are two further forms, without separate queries. "crossed": the map's
cells attend to one another, then to themselves as they were before the layer. "plain": the layers of a vision
transformer, with the positions added once.
"""

from __future__ import annotations

from itertools import count
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.blocks import Block, init_linear
from .vit1d import ViTSize

Form = Literal["queries", "crossed", "plain"]

SIZES = {
    "tiny": ViTSize(width=256, layers=4, heads=4),
    "small": ViTSize(width=512, layers=6, heads=8),
    "base": ViTSize(width=768, layers=12, heads=12),
    "large": ViTSize(width=1024, layers=24, heads=16),
    "xl": ViTSize(width=1280, layers=36, heads=20),
    "xxl": ViTSize(width=1536, layers=48, heads=24),
}
"""The paper's sizes; its small has two layers fewer than TiTok's."""


def coarse_to_fine(cells: Tensor, tokens: int) -> Tensor:
    """Averages of a map [B, W, h, w] over the whole, the whole again, 1 x 2 blocks, 2 x 2, 2 x 4, …: [B, tokens, W].

    Raises:
        ValueError: the map has fewer rows or columns than the finest blocks need.
    """
    found: list[Tensor] = []
    for group in count():
        level = max(group - 1, 0)
        rows, columns = 2 ** (level // 2), 2 ** ((level + 1) // 2)
        if rows > cells.shape[2] or columns > cells.shape[3]:
            raise ValueError(
                f"{tokens} tokens need a map of at least {rows} x {columns} cells to average, this one has "
                f"{cells.shape[2]} x {cells.shape[3]}: ask for fewer tokens or halve the picture less often"
            )
        found.append(rearrange(F.adaptive_avg_pool2d(cells, (rows, columns)), "b w i j -> b (i j) w"))
        if 2**group >= tokens:
            break
    return torch.cat(found, dim=1)[:, :tokens]


class _QFormer(nn.Module):
    """What encoder and decoder share: the way in, positions, layers, the last norm.

    Args:
        size: width W, layers, heads.
        channels: C, of what comes in and goes out.
        side: cells in a row (and in a column) of the map.
        tokens: K.
        form: see the module's text.
        std: standard deviation of the positions at the start; 0: that of the paper, W ** -0.5.
    """

    def __init__(
        self, size: ViTSize, channels: int, side: int, tokens: int, form: Form = "queries", std: float = 0.0
    ) -> None:
        super().__init__()
        self.side, self.form = side, form
        self.norm_in, self.embed = nn.LayerNorm(channels), nn.Linear(channels, size.width)
        std = std or size.width**-0.5
        self.place = nn.Parameter(torch.randn(side * side, size.width) * std)
        own = form == "queries"
        self.latent_place = nn.Parameter(torch.randn(tokens, size.width) * std) if own else None
        cross = form != "plain"
        self.blocks = nn.ModuleList(Block(size.width, size.heads, cross=cross) for _ in range(size.layers))
        self.norm_out = nn.LayerNorm(size.width)

    def start(self) -> None:
        """Small weights in all linear layers and convolutions, as published."""
        self.apply(init_linear)
        for name, matrix in self.named_parameters():
            if name.endswith(("attn.qkv.weight", "cross.q.weight", "cross.kv.weight")):
                nn.init.xavier_uniform_(matrix)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Tokens [B, n, C] -> [B, n, W]."""
        out: Tensor = self.embed(self.norm_in(tokens))
        return out

    def body(
        self, x: Tensor, memory: Tensor, place: Tensor, memory_place: Tensor, tap: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Queries x [B, n, W] through all layers and the last norm, and as they were after layer `tap`, if any.

        Args:
            x: the queries; in the other forms the cells, which are then their own memory.
            memory: [B, m, W].
            place, memory_place: positions [n, W] and [m, W].
            tap: counts from 1.
        """
        inner = None
        if self.form == "plain":
            x = x + place
        for number, block in enumerate(self.blocks, start=1):
            if self.form == "plain":
                x = block(x)
            else:
                seen = memory if self.form == "queries" else x
                x = block(x, place=place, memory=seen, memory_place=memory_place)
            if number == tap:
                inner = x
        return self.norm_out(x), inner


class Encoder(_QFormer):
    """A map of features to latents; see `_QFormer` for the options."""

    def __init__(
        self, size: ViTSize, channels: int, side: int, tokens: int, form: Form = "queries", std: float = 0.0
    ) -> None:
        super().__init__(size, channels, side, tokens, form, std)
        self.tokens = tokens
        self.query = nn.Linear(size.width, size.width) if form == "queries" else None
        self.out = nn.Linear(size.width, channels)
        self.start()

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, K, C]."""
        memory = self.embedded(rearrange(features, "b c h w -> b (h w) c"))
        x = memory
        if self.query is not None:
            cells = rearrange(memory, "b (h w) c -> b c h w", h=self.side)
            x = self.query(coarse_to_fine(cells, self.tokens))
        place = self.place if self.latent_place is None else self.latent_place
        out: Tensor = self.out(self.body(x, memory, place, self.place)[0])
        return out


class Decoder(_QFormer):
    """Latents to a map of features; see `_QFormer` for the options."""

    def __init__(
        self, size: ViTSize, channels: int, side: int, tokens: int, form: Form = "queries", std: float = 0.0
    ) -> None:
        super().__init__(size, channels, side, tokens, form, std)
        self.out = nn.Conv2d(size.width, channels, 3, padding=1)
        self.start()

    def forward(self, latents: Tensor, tap: int = 0) -> tuple[Tensor, Tensor | None]:
        """Latents [B, k, C], k <= K -> the map [B, C, h, w], and the tokens [B, h w, W] after layer `tap`, if any."""
        memory = self.embedded(latents)
        x, place = memory, self.place
        if self.latent_place is not None:
            x = memory[:, :1].expand(-1, len(self.place), -1)
            place = self.latent_place[: memory.shape[1]]
        x, inner = self.body(x, memory, self.place, place, tap)
        # Written with the channels last, as the convolutions want it.
        cells = rearrange(x, "b (h w) c -> b h w c", h=self.side).movedim(-1, 1)
        return self.out(cells), inner
