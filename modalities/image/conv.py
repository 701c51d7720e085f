"""Convolutional encoder and decoder of the latent-diffusion kind, from small pieces with options.

    ConvEncoder(256, channels)(pictures [B, 3, H, W]) -> features [B, 256, H / f, W / f]
    ConvDecoder(256, channels)(features [B, 256, h, w]) -> pictures [B, 3, f h, f w]        f = 2 ** (levels - 1)

Rombach et al., arXiv:2112.10752: the encoder halves by strided convolutions, and with `attention` the cells of
the smallest map look at one another. The decoder doubles either as latent diffusion does, by nearest neighbours and
a convolution, or, `styled`, as GigaTok (Xiong et al., arXiv:2504.08736) does: by depth to space, with mean and spread
of the map set at the start of each level from those of its input (Yu et al., MAGVIT-v2, arXiv:2310.05737). Where
the kernels are channels-last, the maps are, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.attention import Attention
from ..common.winograd import Conv3x3, convolve, fits

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


class Double(nn.Conv2d):
    """Nearest-neighbour doubling and a 3 x 3 convolution: [B, C, h, w] -> [B, C', 2 h, 2 w].

    Each output pixel of one of the four phases sees only 2 x 2 distinct input pixels, so outside training the
    two steps run as four 2 x 2 convolutions at the small size: the same sums with 4 / 9 of the products.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Double and convolve."""
        if torch.is_grad_enabled():
            return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        weight = self._phases(x)  # [4 C', C, 2, 2]
        bias = None if self.bias is None else self.bias.repeat(4)
        both = convolve(x, weight, bias) if fits(x, weight) else F.conv2d(x, weight, bias, padding=1)
        # Phase (i, j) of the output pixel (2 y + i, 2 x + j) stands at (y + i, x + j) of the padded map.
        rows, columns = x.shape[2:]
        shape = (len(x), self.out_channels, 2 * rows, 2 * columns)
        out = torch.empty(shape, dtype=both.dtype, device=x.device, memory_format=torch.channels_last)
        for phase, part in enumerate(both.chunk(4, dim=1)):
            i, j = divmod(phase, 2)
            out[:, :, i::2, j::2] = part[:, :, i : i + rows, j : j + columns]
        return out

    def _phases(self, x: Tensor) -> Tensor:
        """The four 2 x 2 kernels [4 C', C, 2, 2]: rows (and columns) of the 3 x 3 one that meet the same pixel."""
        w = self.weight
        down = [
            torch.stack([w[:, :, 0], w[:, :, 1] + w[:, :, 2]], 2),
            torch.stack([w[:, :, 0] + w[:, :, 1], w[:, :, 2]], 2),
        ]
        kernels = []
        for rows in down:  # [C', C, 2, 3]
            left = torch.stack([rows[..., 0], rows[..., 1] + rows[..., 2]], -1)
            right = torch.stack([rows[..., 0] + rows[..., 1], rows[..., 2]], -1)
            kernels += [left, right]
        return rearrange(kernels, "four o c h w -> (four o) c h w").to(x.dtype)


class MapAttention(nn.Module):
    """Attention of one head over all cells of a map, after a group norm and added to it: [B, C, h, w] -> the same.

    Args:
        channels: C, a multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.attn = Attention(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Let every cell look at all of x."""
        tokens = self.attn(rearrange(self.norm(x), "b c h w -> b (h w) c"))
        return x + rearrange(tokens, "b (h w) c -> b h w c", h=x.shape[2]).movedim(-1, 1)


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


def _through(middle: nn.ModuleList, attention: nn.Module | None, x: Tensor) -> Tensor:
    """The two blocks of the smallest map, and the attention between them."""
    x = middle[0](x)
    x = x if attention is None else attention(x)
    out: Tensor = middle[1](x)
    return out


class ConvEncoder(nn.Module):
    """Pictures to features.

    Args:
        outputs: channels of the features.
        channels: at each level, from full size down; multiples of 32.
        blocks: residual blocks at each level.
        attention: whether cells of the smallest map see one another.
    """

    def __init__(
        self, outputs: int, channels: Sequence[int] = CHANNELS, blocks: int = 2, *, attention: bool = False
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        before = (channels[0], *channels)
        self.levels = nn.ModuleList(_stack(blocks, b, c) for b, c in zip(before, channels, strict=False))
        self.halves = nn.ModuleList(Halve(c, c) for c in channels[:-1])
        self.middle = _stack(2, channels[-1], channels[-1])
        self.attention = MapAttention(channels[-1]) if attention else None
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
        x = _through(self.middle, self.attention, x)
        out: Tensor = self.conv_out(silu(self.norm_out(x)))
        return out


class ConvDecoder(nn.Module):
    """Features to pictures.

    Args:
        inputs: channels of the features.
        channels, blocks, attention: as in `ConvEncoder`.
        styled: double by depth to space and set mean and spread at each level; if not, as latent diffusion.
    """

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int] = CHANNELS,
        blocks: int = 3,
        *,
        attention: bool = False,
        styled: bool = True,
    ) -> None:
        super().__init__()
        down = tuple(reversed(channels))
        self.conv_in = nn.Conv2d(inputs, down[0], 3, padding=1)
        self.middle = _stack(2, down[0], down[0], quick=True)
        self.attention = MapAttention(down[0]) if attention else None
        before = (down[0], *down)
        self.styles = nn.ModuleList(StyleNorm(b, inputs) for b in before[:-1] if styled)
        self.levels = nn.ModuleList(
            _stack(blocks, b, c, quick=True) for b, c in zip(before, down, strict=False)
        )
        self.doubles = nn.ModuleList(Unfold(c, c) if styled else Double(c, c) for c in down[:-1])
        self.norm_out = nn.GroupNorm(32, down[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(down[-1], 3, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, 3, f h, f w]."""
        mean, spread = moments(features) if self.styles else (features, features)
        x = self.conv_in(features)
        x = _through(self.middle, self.attention, x)
        for number, level in enumerate(self.levels):
            x = self.styles[number](x, mean, spread) if self.styles else x
            for block in level:  # type: ignore[attr-defined]
                x = block(x)
            if number < len(self.doubles):
                x = self.doubles[number](x)
        out: Tensor = self.conv_out(silu(self.norm_out(x)))
        return out
