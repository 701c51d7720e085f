"""Transformer blocks of the small tokenizers: pre-LN, GELU, full attention, learned tokens.

Initialisation matters at this size: learned tokens (latents, masks, positions) start with standard
deviation 0.5, because at the usual 0.02 the first block's output drowns them and all latents stay equal;
output projections start small, so that a block begins near the identity.
The block is that of TiTok (Yu et al., arXiv:2406.07550), which follows CLIP's.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

TOKEN_STD = 0.5


class Attention(nn.Module):
    """Multi-head self-attention over x [B, T, W]; `mask` [T, T] or [B, 1, T, T] is True where allowed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, T, W] -> [B, T, W]."""
        q, k, v = rearrange(self.in_proj(x), "b t (three h d) -> three b h t d", three=3, h=self.heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        projected: Tensor = self.out_proj(rearrange(out, "b h t d -> b t (h d)"))
        return projected


class Block(nn.Module):
    """Pre-LN transformer block: x + attention(ln(x)), then x + mlp(ln(x)); x [B, T, W]."""

    def __init__(self, width: int, heads: int, ratio: float = 4.0) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.c_fc, self.c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, T, W] -> [B, T, W]."""
        x = x + self.attn(self.ln_1(x), mask)
        out: Tensor = x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x))))
        return out


class Transformer(nn.Module):
    """`layers` blocks between two LayerNorms (TiTok's ln_pre and ln_post): x [B, T, W] -> [B, T, W]."""

    def __init__(self, width: int, layers: int, heads: int, ratio: float = 4.0) -> None:
        super().__init__()
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = [Block(width, heads, ratio) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.apply(init_linear)
        for block in blocks:
            for projection in (block.attn.out_proj, block.c_proj):
                nn.init.normal_(projection.weight, std=0.02 / math.sqrt(2 * layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, T, W] -> [B, T, W]."""
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.ln_post(x)
        return out


class Tokens(nn.Module):
    """`count` learned tokens [count, W]; called with a batch size it gives [B, count, W]."""

    def __init__(self, count: int, width: int, std: float = TOKEN_STD) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width) * std)

    def forward(self, batch: int) -> Tensor:
        """The tokens, repeated for a batch: [batch, count, W]."""
        return self.weight.expand(batch, -1, -1)


def init_linear(module: nn.Module) -> None:
    """Normal(0, 0.02) weights and zero biases for every linear or convolution layer; use with `apply`."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
