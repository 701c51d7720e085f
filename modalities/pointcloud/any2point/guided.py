"""What Any2Point trains inside a frozen transformer: adapters, attention in views, guides of each layer.

    f = frozen layer's MLP;  x + f + s * adapter(f)                       Any2Point, arXiv:2404.07989, section 3.3
    x + lambda * sum over views of w_v z_v                                section 3.4

`x3` pools tokens of a voxel, z_v tokens of a bin of view v after attention among them; the weight w_v of a
view is (cos(z_v, x3) + 1) / 2, normalised over the views, for each token. The attention is one set for all
layers, adapters and normalisations belong to a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .cells import Cells
from .config import ADAPTER_DROPOUT, VIEW_HEADS, VIEW_WIDTH
from .project import VIEWS


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), the GELU of CLIP (Hendrycks and Gimpel, arXiv:1606.08415, section 2)."""
    return x * torch.sigmoid(1.702 * x)


class Adapter(nn.Module):
    """A bottleneck of `rank` channels [..., W] -> [..., W], without a residual of its own."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, rank), nn.Linear(rank, width)
        self.drop = nn.Dropout(ADAPTER_DROPOUT)
        for layer in (self.down, self.up):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., W] -> [..., W]."""
        out: Tensor = self.up(self.drop(quick_gelu(self.down(x))))
        return out


class ViewAttention(nn.Module):
    """Self-attention of a few channels among the tokens of one bin, for one view; weights are for all layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * VIEW_WIDTH), nn.Linear(VIEW_WIDTH, width)
        for layer in (self.qkv, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, together: Tensor) -> Tensor:
        """x [B, T, W], together bool [B, T, T] -> [B, T, W]."""
        q, k, v = rearrange(self.qkv(x), "b t (n h d) -> n b h t d", n=3, h=VIEW_HEADS)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=together[:, None], scale=VIEW_WIDTH**-0.5)
        out: Tensor = self.proj(rearrange(seen, "b h t d -> b t (h d)"))
        return out


class Views(nn.Module):
    """Norms and attention of the six views."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(VIEWS))
        self.attention = nn.ModuleList(ViewAttention(width) for _ in range(VIEWS))

    def forward(self, x: Tensor, view: int, together: Tensor) -> Tensor:
        """What view `view` adds to x [B, T, W]: [B, T, W]; together bool [B, T, T]."""
        out: Tensor = self.attention[view](self.norms[view](x), together)
        return out


class Guide(nn.Module):
    """One layer's trainable parts.

    Args:
        width: W.
        rank: of the adapter.
        pool: of bins: "mean", or "both" for mean + maximum.
        weight: of what the views add.
    """

    def __init__(self, width: int, rank: int, pool: Literal["mean", "both"], weight: float) -> None:
        super().__init__()
        self.pool, self.weight = pool, weight
        self.adapter = Adapter(width, rank)
        self.space = nn.BatchNorm1d(width)
        self.views = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(VIEWS))

    def forward(
        self,
        x: Tensor,
        space: Cells,
        bins: Sequence[Cells],
        together: Sequence[Tensor],
        views: Views,
        empty: Sequence[int],
    ) -> Tensor:
        """Tokens [B, T, W] with what the views add.

        Args:
            x: tokens of the cloud, without the class token.
            space: voxels.
            bins: of each view.
            together: of each view, bool [B, T, T].
            views: the attention that all layers share.
            empty: of each view: bins without tokens that count as zeros where training normalises; see `compat`.
        """
        guide = F.gelu(self.space(space.mean(x) + space.maximum(x)))
        guide_norm = guide.norm(dim=-1, keepdim=True).clamp(min=1e-8)
        guide = space.spread(guide / guide_norm)
        found, weights = [], []
        for view, (cells, near) in enumerate(zip(bins, together, strict=True)):
            seen = x + views(x, view, near)
            rows = cells.mean(seen)
            if self.pool == "both":
                rows = rows + cells.maximum(seen)
            rows = F.gelu(self._normalised(view, rows, empty[view]))
            found.append(cells.spread(rows))
            norm = rows.norm(dim=-1, keepdim=True).clamp(min=1e-8)
            weights.append(((found[-1] * guide).sum(-1) / cells.spread(norm)[..., 0] + 1) / 2)
        share = torch.stack(weights)
        share = share / share.sum(0).clamp(min=torch.finfo(x.dtype).tiny)
        for each, z in zip(share, found, strict=True):
            x = x + self.weight * each[..., None] * z
        return x

    def _normalised(self, view: int, rows: Tensor, empty: int) -> Tensor:
        if self.training and empty:
            padded: Tensor = self.views[view](F.pad(rows, (0, 0, 0, empty)))
            return padded[: len(rows)]
        found: Tensor = self.views[view](rows)
        return found
