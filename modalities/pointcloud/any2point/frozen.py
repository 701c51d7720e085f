"""The frozen transformer that Any2Point borrows: layers of CLIP's text half, BERT, ViT, DINOv2, ImageBind, AST.

    layer = FrozenLayer(SourceShape(…))
    x, f = layer.attend(x), layer.feed(x)       # the caller adds its adapters to f, then closes: layer.close(x + f + …)

Attention is over all tokens and in both directions, whatever the source was trained for, as in Any2Point
(arXiv:2404.07989).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...common.attention import Attention
from ...common.blocks import Mlp
from .config import SourceShape
from .guided import quick_gelu


class QuickMlp(Mlp):
    """The MLP of CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., W] -> [..., W]."""
        out: Tensor = self.down(quick_gelu(self.up(x)))
        return out


class Scale(nn.Module):
    """LayerScale (Touvron et al., arXiv:2103.17239): a factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., W] -> [..., W]."""
        return x * self.gamma


class FrozenLayer(nn.Module):
    """A transformer layer in two halves, so that adapters can stand beside its MLP.

    Args:
        shape: of the source.
        across: attend over the clouds of a batch at each token, as the published language model does.
    """

    def __init__(self, shape: SourceShape, across: bool = False) -> None:
        super().__init__()
        self.after, self.across = shape.after, across
        width = shape.width
        self.norm_1 = nn.LayerNorm(width, eps=shape.eps)
        self.attn = Attention(width, shape.heads)
        self.norm_2 = nn.LayerNorm(width, eps=shape.eps)
        if shape.activation == "quick_gelu":
            self.mlp: Mlp = QuickMlp(width, shape.hidden)
        else:
            self.mlp = Mlp(width, shape.hidden, shape.activation)
        self.scale_1: nn.Module = Scale(width) if shape.scaled else nn.Identity()
        self.scale_2: nn.Module = Scale(width) if shape.scaled else nn.Identity()
        self.requires_grad_(False)

    def attend(self, x: Tensor) -> Tensor:
        """What attention adds to x [B, T, W]."""
        inner = x if self.after else self.norm_1(x)
        inner = (
            self.attn(inner.transpose(0, 1).contiguous()).transpose(0, 1) if self.across else self.attn(inner)
        )
        out: Tensor = self.scale_1(inner)
        return out

    def between(self, x: Tensor) -> Tensor:
        """The norm of BERT between the halves; elsewhere nothing."""
        return self.norm_1(x) if self.after else x

    def feed(self, x: Tensor) -> Tensor:
        """What the MLP adds to x [B, T, W]."""
        out: Tensor = self.scale_2(self.mlp(x if self.after else self.norm_2(x)))
        return out

    def close(self, x: Tensor) -> Tensor:
        """The norm of BERT at the end of the layer; elsewhere nothing."""
        return self.norm_2(x) if self.after else x
