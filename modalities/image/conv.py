"""Convolutional encoder and decoder of the latent-diffusion kind, from small pieces with options.

    ConvEncoder(256, channels)(pictures [B, 3, H, W]) -> features [B, 256, H / f, W / f]
    ConvDecoder(256, channels)(features [B, 256, h, w]) -> pictures [B, 3, f h, f w]        f = 2 ** (levels - 1)

Rombach et al., arXiv:2112.10752, without attention, as GigaTok (Xiong et al., arXiv:2504.08736) has them: the
encoder halves by strided convolutions; the decoder doubles by depth to space and, at the start of each level,
sets mean and spread of the map from those of its input (Yu et al., MAGVIT-v2, arXiv:2310.05737). Where the
kernels are channels-last, the maps are, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.winograd import Conv3x3

CHANNELS = (128, 128, 256, 256, 512)
"""Channels at each level, from full size down."""


def silu(x: Tensor) -> Tensor:
    """SiLU of what is not needed again: outside training in place, since fresh memory costs more than the sums."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


class Residual(nn.Module):
    """Norm, SiLU, convolution, twice, added to the input: [B, C, h, w] -> [B, C', h, w].

    Args:
        channels, out: C and C', multiples of 32.
        bias: of the convolutions.
        own: where the channels change, the shortcut starts from the block's own output and the input is
            dropped; only where released weights were trained so (MaskGIT-VQGAN).
        quick: see `Conv3x3`; for decoders, since an encoder's last bits may decide a code.
    """

    def __init__(
        self, channels: int, out: int, *, bias: bool = True, own: bool = False, quick: bool = False
    ) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv_1 = Conv3x3(channels, out, bias=bias, quick=quick)
        self.norm_2 = nn.GroupNorm(32, out, eps=1e-6)
        self.conv_2 = Conv3x3(out, out, bias=bias, quick=quick)
        self.own = own
        self.shortcut = nn.Conv2d(out if own else channels, out, 1, bias=bias) if channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        """Add the two convolutions of x."""
        h = self.conv_1(silu(self.norm_1(x)))
        h = self.conv_2(silu(self.norm_2(h)))
        more: Tensor = x if self.shortcut is None else self.shortcut(h if self.own else x)
        return h + more if torch.is_grad_enabled() or h.dtype != more.dtype else h.add_(more)


class Halve(nn.Conv2d):
    """A strided convolution to half the size; zeros are added below and on the right alone."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h / 2, w / 2]."""
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Unfold(nn.Conv2d):
    """A convolution to four times the channels, which become 2 x 2 pixels: depth to space."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, 4 * out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', 2 h, 2 w]."""
        deep = super().forward(x)
        # Written with the channels last, so that the map stays in that layout.
        return rearrange(deep, "b (p q c) h w -> b (h p) (w q) c", p=2, q=2).movedim(-1, 1)


class StyleNorm(nn.Module):
    """Group norm whose scale and shift come from spread and mean of another map, the style [B, S, h', w'].

    Args:
        channels: C, of the map that is normalised; a multiple of 32.
        style: S.
    """

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6, affine=False)
        self.scale, self.shift = nn.Linear(style, channels), nn.Linear(style, channels)

    def forward(self, x: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
        """x [B, C, h, w], mean and spread [B, S] of the style -> [B, C, h, w]."""
        scale, shift = (rearrange(v, "b c -> b c 1 1") for v in (self.scale(spread), self.shift(mean)))
        out: Tensor = torch.addcmul(shift, self.norm(x), scale)
        return out


def moments(style: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread [B, S] of a map [B, S, h, w] over its cells."""
    variance, mean = torch.var_mean(style, dim=(2, 3))
    return mean, (variance + 1e-6).sqrt()


def _stack(blocks: int, channels: int, out: int, quick: bool = False) -> nn.ModuleList:
    """`blocks` residual blocks, the first of which changes the channels."""
    return nn.ModuleList(Residual(channels if b == 0 else out, out, quick=quick) for b in range(blocks))


class ConvEncoder(nn.Module):
    """Pictures to features.

    Args:
        outputs: channels of the features.
        channels: at each level, from full size down; multiples of 32.
        blocks: residual blocks at each level.
    """

    def __init__(self, outputs: int, channels: Sequence[int] = CHANNELS, blocks: int = 2) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        before = (channels[0], *channels)
        self.levels = nn.ModuleList(_stack(blocks, b, c) for b, c in zip(before, channels, strict=False))
        self.halves = nn.ModuleList(Halve(c, c) for c in channels[:-1])
        self.middle = _stack(2, channels[-1], channels[-1])
        self.norm_out = nn.GroupNorm(32, channels[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[-1], outputs, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, outputs, H / f, W / f]."""
        x = self.conv_in(pictures)
        for number, level in enumerate(self.levels):
            for block in level:  # type: ignore[attr-defined]
                x = block(x)
            if number < len(self.halves):
                x = self.halves[number](x)
        for block in self.middle:
            x = block(x)
        out: Tensor = self.conv_out(silu(self.norm_out(x)))
        return out


class ConvDecoder(nn.Module):
    """Features to pictures.

    Args:
        inputs: channels of the features.
        channels, blocks: as in `ConvEncoder`, at each level.
    """

    def __init__(self, inputs: int, channels: Sequence[int] = CHANNELS, blocks: int = 3) -> None:
        super().__init__()
        down = tuple(reversed(channels))
        self.conv_in = nn.Conv2d(inputs, down[0], 3, padding=1)
        self.middle = _stack(2, down[0], down[0], quick=True)
        before = (down[0], *down)
        self.styles = nn.ModuleList(StyleNorm(b, inputs) for b in before[:-1])
        self.levels = nn.ModuleList(
            _stack(blocks, b, c, quick=True) for b, c in zip(before, down, strict=False)
        )
        self.doubles = nn.ModuleList(Unfold(c, c) for c in down[:-1])
        self.norm_out = nn.GroupNorm(32, down[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(down[-1], 3, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, 3, f h, f w]."""
        mean, spread = moments(features)
        x = self.conv_in(features)
        for block in self.middle:
            x = block(x)
        for number, level in enumerate(self.levels):
            x = self.styles[number](x, mean, spread)
            for block in level:  # type: ignore[attr-defined]
                x = block(x)
            if number < len(self.doubles):
                x = self.doubles[number](x)
        out: Tensor = self.conv_out(silu(self.norm_out(x)))
        return out
