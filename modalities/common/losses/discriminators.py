"""Networks that judge patches of pictures [B, 3, H, W] in [0, 1]: logits [B, 1, h, w], high for real ones."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Blur(nn.Module):
    """Halves a map with the binomial filter (1, 3, 3, 1) in both directions (Zhang, arXiv:1904.11486)."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)]."""
        padding: list[int] = []
        for side in (x.shape[3], x.shape[2]):
            total = 2 + side % 2  # an even side needs one more on both sides, an odd one another behind
            padding += [total // 2, total - total // 2]
        weight = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return F.conv2d(F.pad(x, padding), weight, stride=2, groups=x.shape[1])


class BlurredDiscriminator(nn.Module):
    """TiTok's judge: 3 x 3 convolutions with blurred halving and group norm, always 16 x 16 logits.

    Args:
        width: channels of the first stage; they double from stage to stage.
        stages: how often the map is halved.
        grid: side of the map of logits; larger maps are max-pooled to it.
    """

    def __init__(self, width: int = 128, stages: int = 3, grid: int = 16) -> None:
        super().__init__()
        widths = [width] + [width * 2**stage for stage in range(stages)]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 5, padding=2), nn.LeakyReLU(0.1)]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                Blur(),
                nn.GroupNorm(32, after),
                nn.LeakyReLU(0.1),
            ]
        layers += [
            nn.AdaptiveMaxPool2d(grid),
            nn.Conv2d(widths[-1], widths[-1], 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(widths[-1], 1, 5, padding=2),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> logits [B, 1, grid, grid]."""
        logits: Tensor = self.layers(pictures)
        return logits


class PatchDiscriminator(nn.Module):
    """The judge of pix2pix (Isola et al., arXiv:1611.07004), as GigaTok uses it: 4 x 4 convolutions, batch norm.

    A logit sees 70 x 70 pixels with three layers. Pictures in [0, 1] are mapped to its range [-1, 1] inside.

    Args:
        width: channels of the first layer; they double up to eight times it.
        layers: how many halving layers.
    """

    def __init__(self, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [width * min(2**layer, 8) for layer in range(layers + 1)]
        stack: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for layer, (before, after) in enumerate(pairwise(widths), 1):
            stride = 2 if layer < layers else 1
            stack += [
                nn.Conv2d(before, after, 4, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        stack.append(nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.layers = nn.Sequential(*stack)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> logits [B, 1, h, w], h = H / 2 ** layers - 2 for three layers."""
        logits: Tensor = self.layers(2 * pictures - 1)
        return logits
