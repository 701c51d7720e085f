"""MaskGIT-VQGAN's convolutional halves: what the paper TiTok tokenizers decode with and take proxy codes from.

    VQGANDecoder()(features [B, 256, h, w]) -> pictures [B, 3, 16 h, 16 w]
    VQGANEncoder()(pictures [B, 3, H, W]) -> features [B, 256, H / 16, W / 16]

Chang et al., MaskGIT, arXiv:2202.04200, in the form of the released files. One of its traits is kept for
them: where a residual block changes the number of channels, its shortcut is taken from the block's own
output, so that the block gives h + shortcut(h) and its input is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import conv
from .conv import CHANNELS, Double


class Residual(conv.Residual):
    """Norm, SiLU, convolution, twice; see the module's text on the shortcut."""

    def __init__(self, channels: int, out: int, *, quick: bool = False) -> None:
        super().__init__(channels, out, bias=False, own=True, quick=quick)


class VQGANDecoder(nn.Module):
    """Features to pictures.

    Args:
        inputs: channels of the features.
        channels: at each level, from full size down.
        blocks: residual blocks at each level.
    """

    def __init__(self, inputs: int = 256, channels: Sequence[int] = CHANNELS, blocks: int = 2) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, channels[-1], 3, padding=1)
        self.middle = nn.ModuleList(Residual(channels[-1], channels[-1], quick=True) for _ in range(blocks))
        self.levels, self.doubles = nn.ModuleList(), nn.ModuleList()
        before = channels[-1]
        for level in reversed(range(len(channels))):
            here = channels[level]
            self.levels.append(
                nn.ModuleList(Residual(before if b == 0 else here, here, quick=True) for b in range(blocks))
            )
            before = here
            if level:
                self.doubles.append(Double(here, here))
        self.norm_out = nn.GroupNorm(32, channels[0], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[0], 3, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, 3, 16 h, 16 w] with the five levels of the released files."""
        x = self.conv_in(features)
        for block in self.middle:
            x = block(x)
        for number, level in enumerate(self.levels):
            for block in level:  # type: ignore[attr-defined]
                x = block(x)
            if number < len(self.doubles):
                x = self.doubles[number](x)
        out: Tensor = self.conv_out(conv.silu(self.norm_out(x)))
        return out


class VQGANEncoder(nn.Module):
    """Pictures to features; with the codebook it gives the proxy codes of TiTok's first stage.

    Args:
        outputs: channels of the features.
        channels, blocks: as in `VQGANDecoder`.
    """

    def __init__(self, outputs: int = 256, channels: Sequence[int] = CHANNELS, blocks: int = 2) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.levels = nn.ModuleList()
        before = channels[0]
        for here in channels:
            self.levels.append(
                nn.ModuleList(Residual(before if b == 0 else here, here) for b in range(blocks))
            )
            before = here
        self.middle = nn.ModuleList(Residual(before, before) for _ in range(blocks))
        self.norm_out = nn.GroupNorm(32, before, eps=1e-6)
        self.conv_out = nn.Conv2d(before, outputs, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, outputs, H / 16, W / 16] with the five levels of the released files."""
        x = self.conv_in(pictures)
        for number, level in enumerate(self.levels):
            for block in level:  # type: ignore[attr-defined]
                x = block(x)
            if number < len(self.levels) - 1:
                x = F.avg_pool2d(x, 2)
        for block in self.middle:
            x = block(x)
        out: Tensor = self.conv_out(conv.silu(self.norm_out(x)))
        return out


class ProxyDecoder(nn.Module):
    """Logits over VQGAN codes to pictures, as TiTok's legacy checkpoints do.

    [B, N, h, w] -> the expected code under the softmax -> pictures [B, 3, 16 h, 16 w].
    """

    def __init__(self, codes: int = 1024, dim: int = 256) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.empty(codes, dim).uniform_(-1 / codes, 1 / codes))
        self.decoder = VQGANDecoder(dim)

    def forward(self, logits: Tensor) -> Tensor:
        """Decode the expected codes."""
        share = logits.softmax(dim=1)
        features = torch.einsum("b n h w, n c -> b c h w", share, self.codebook)
        out: Tensor = self.decoder(features)
        return out
