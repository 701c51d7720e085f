"""The network of FlexTok: a picture as a row of registers of which any first ones are a picture, and a flow back.

    Encoder(config, channels)(latents [B, C, h, w], count=k) -> z [B, k, channels]
    Decoder(config, dim)(noisy [B, C, h, w], conditions, registers) -> velocity [B, C, h, w]

FlexTok (Bachmann et al., arXiv:2502.13967). Both halves are transformers over the patches of a VAE's latents and K
registers, all as one dense batch [B, N + K, W]. In the encoder patches see patches and a register sees the patches
and the registers before it, so that the first k registers do not depend on how many follow: fewer are encoded for
less. The decoder is a rectified flow with adaLN, from noise at time 1 to latents at time 0; what stands between it
and the pictures is `modalities.image.vae`.

Registers that were dropped all hold one mask token, without a position, and without a condition all hold another.
Equal tokens stay equal through every layer, so in sampling one token stands for n of them: its key counts n times
(log n is added to its logits), which changes no result and nearly halves the work of short prefixes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.blocks import TOKEN_STD, Block, Modulated, Modulation
from ..common.positions import sincos_2d
from ..common.times import TimeEmbedding
from .flextok_config import FlexTokConfig
from .vit1d import ViTSize

EPS = 1e-5
ORDER = ("gate_attn", "gate_mlp", "shift_attn", "scale_attn", "shift_mlp", "scale_mlp")
"""How the rows of the released modulations are dealt out."""


class Registers(NamedTuple):
    """What the decoder is told: tokens [B, R, W], and for how many registers each stands, [R] (None: one each)."""

    tokens: Tensor
    counts: Tensor | None = None


class Conditions(NamedTuple):
    """What times make of the decoder's layers: shifts, scales and gates [S, 1, W] for patches and for registers."""

    layers: list[tuple[Modulated, Modulated]]
    head: tuple[Tensor, Tensor] | None

    def at(self, step: int) -> Conditions:
        """Those of one of the S times."""
        here = slice(step, step + 1)
        layers = [
            (Modulated(*(v[here] for v in one)), Modulated(*(v[here] for v in two)))
            for one, two in self.layers
        ]
        return Conditions(layers, None if self.head is None else (self.head[0][here], self.head[1][here]))


class _Half(nn.Module):
    """What both halves have: patches with their places, and the blocks."""

    place: Tensor  # [N, W]

    def __init__(self, config: FlexTokConfig, size: ViTSize) -> None:
        super().__init__()
        self.config, self.width = config, size.width
        self.embed = nn.Linear(config.patch**2 * config.vae.latents, size.width)
        columns, rows = sincos_2d(config.side, config.side, size.width).chunk(2, dim=-1)
        self.register_buffer("place", torch.cat([rows, columns], dim=-1))
        self.blocks = nn.ModuleList(
            Block(
                size.width,
                size.heads,
                hidden=2 * 4 * size.width // 3,
                mlp="swiglu",
                affine=False,
                eps=EPS,
                bias=False,
                qk_norm="layer",
                qk_affine=False,
            )
            for _ in range(size.layers)
        )
        self.norm = nn.LayerNorm(size.width, eps=EPS, elementwise_affine=False)

    def cells(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] as patches [B, N, patch ** 2 * C].

        Raises:
            ValueError: latents of another shape.
        """
        wanted = (self.config.vae.latents, *[self.config.side * self.config.patch] * 2)
        if latents.shape[1:] != wanted:
            raise ValueError(f"latents of shape {list(latents.shape[1:])}: this network takes {list(wanted)}")
        p = self.config.patch
        return rearrange(latents, "b c (h p) (w q) -> b (h w) (p q c)", p=p, q=p)

    def patches(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] -> tokens [B, N, W]."""
        tokens: Tensor = self.embed(self.cells(latents))
        return tokens + self.place

    def learned(self, *shape: int) -> nn.Parameter:
        """Learned tokens [*shape, W]."""
        return nn.Parameter(torch.randn(*shape, self.width) * TOKEN_STD)


class Encoder(_Half):
    """Latents to registers."""

    def __init__(self, config: FlexTokConfig, channels: int) -> None:
        super().__init__(config, config.encoder)
        self.registers = self.learned(config.tokens)
        self.out = nn.Linear(self.width, channels)
        if config.linear:  # the corrections begin at zero
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, latents: Tensor, count: int | None = None) -> Tensor:
        """Latents [B, C, h, w] -> [B, k, channels], of the first `count` registers or all."""
        x = self.patches(latents)
        patches, registers = x.shape[1], self.registers[:count]
        x = torch.cat([x, registers.to(x.dtype).expand(len(x), -1, -1)], dim=1)
        order = torch.arange(x.shape[1], device=x.device)
        mask = (order < patches) | (order <= order.unsqueeze(1))  # [asking, asked]
        for block in self.blocks[:-1]:
            x = block(x, mask=mask)
        wanted = slice(patches, x.shape[1])
        z: Tensor = self.out(self.norm(self.blocks[-1](x, mask=mask[wanted], read=wanted)))
        return z


class Decoder(_Half):
    """The velocity of noisy latents, told some registers."""

    def __init__(self, config: FlexTokConfig, dim: int) -> None:
        super().__init__(config, config.decoder)
        width, layers = self.width, config.decoder.layers
        self.from_codes = nn.Linear(dim, width)
        self.register_place, self.mask, self.null = (
            self.learned(config.tokens),
            self.learned(),
            self.learned(),
        )
        self.time = TimeEmbedding(width, theta=256.0, scale=1000.0 / config.max_timestep)
        self.patch_modulation = nn.ModuleList(Modulation(width, ORDER) for _ in range(layers))
        self.register_modulation = nn.ModuleList(Modulation(width, ORDER) for _ in range(layers))
        self.head_modulation = nn.Linear(width, 2 * width) if config.modulated_head else None
        self.paint = nn.Linear(self.embed.in_features, width) if config.linear else None
        self.out = nn.Linear(width, config.patch**2 * config.vae.latents)
        for layer in (self.out, self.head_modulation):  # the velocity begins at zero
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    # ------------------------------------------------------------- what it is told

    def told(self, z_q: Tensor) -> Registers:
        """The first k codes [B, k, dim], as few tokens as there can be."""
        count, total = z_q.shape[1], self.config.tokens
        tokens = self.from_codes(z_q) + self.register_place[:count]
        if count == total:
            return Registers(tokens)
        counts = torch.ones(count + 1, device=z_q.device)
        counts[-1] = total - count
        rest = self.mask.to(tokens.dtype).expand(len(tokens), 1, -1)
        return Registers(torch.cat([tokens, rest], dim=1), counts)

    def untold(self, count: int) -> Registers:
        """No codes at all, for `count` pictures."""
        total = torch.tensor([float(self.config.tokens)], device=self.null.device)
        return Registers(self.null.expand(count, 1, -1), total)

    def dropped(self, z_q: Tensor, keep: Tensor, null: Tensor) -> Registers:
        """In training: of codes [B, K, dim] the first keep [B], or nothing at all where null [B]."""
        tokens = self.from_codes(z_q) + self.register_place
        kept = torch.arange(z_q.shape[1], device=z_q.device) < keep.to(z_q.device).unsqueeze(1)
        tokens = torch.where(kept.unsqueeze(-1), tokens, self.mask.to(tokens.dtype))
        return Registers(torch.where(null.view(-1, 1, 1).to(z_q.device), self.null.to(tokens.dtype), tokens))

    def conditions(self, times: Tensor) -> Conditions:
        """What times [S] make of all layers: for all steps of a sample at once, or for each item of a batch."""
        time = self.time(times)
        pairs = zip(self.patch_modulation, self.register_modulation, strict=True)
        layers = [(one(time), two(time)) for one, two in pairs]
        if self.head_modulation is None:
            return Conditions(layers, None)
        shift, scale = self.head_modulation(F.silu(time)).unsqueeze(1).chunk(2, dim=-1)
        return Conditions(layers, (shift, scale))

    # ------------------------------------------------------------- the velocity

    def forward(
        self,
        noisy: Tensor,
        conditions: Conditions,
        registers: Registers,
        *,
        linear: Tensor | None = None,
        tap: list[Tensor] | None = None,
    ) -> Tensor:
        """Noisy latents [B, C, h, w], conditions of 1 or B times -> velocity [B, C, h, w].

        `linear` [B, C, h, w] is the picture of a linear path, where there is one; `tap` gets the patches [B, N, W] after the layer that the configuration names.
        """
        x = self.patches(noisy)
        if self.paint is not None and linear is not None:
            x = x + self.paint(self.cells(linear))
        patches = x.shape[1]
        x = torch.cat([x, registers.tokens.to(x.dtype)], dim=1)
        mask = None
        if registers.counts is not None:
            mask = F.pad(registers.counts.log(), (patches, 0)).to(x.dtype).view(1, 1, 1, -1)
        for number, (block, (one, two)) in enumerate(zip(self.blocks, conditions.layers, strict=True), 1):
            both = _spread(one, two, patches, x.shape[1] - patches)
            last = number == len(self.blocks)
            x = block(x, modulation=both, mask=mask, read=slice(0, patches) if last else None)
            if tap is not None and number == self.config.layer:
                tap.append(x[:, :patches])
        x = self.norm(x)
        if conditions.head is not None:
            shift, scale = conditions.head
            x = x * (1 + scale) + shift
        p, side = self.config.patch, self.config.side
        return rearrange(self.out(x), "b (h w) (p q c) -> b c (h p) (w q)", h=side, p=p, q=p)


def _spread(one: Modulated, two: Modulated, patches: int, registers: int) -> Modulated:
    """Vectors [S, 1, W] of patches and of registers as [S, patches + registers, W]."""
    return Modulated(
        *(
            torch.cat([a.expand(-1, patches, -1), b.expand(-1, registers, -1)], dim=1)
            for a, b in zip(one, two, strict=True)
        )
    )
