"""The squared difference of ConvNeXt-S logits: TiTok's perceptual loss (arXiv:2406.07550; Liu et al., 2201.03545).

Names of the tensors are those of torchvision's `convnext_small` (ImageNet-1k, 1000 classes), 224 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS, DEPTHS = (96, 192, 384, 768), (3, 3, 27, 3)
SIDE = 224
EPS = 1e-6


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of maps [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _ChannelsLast(nn.Module):
    """[B, C, H, W] -> [B, H, W, C], or back; holds a place in the released numbering."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


class _Block(nn.Module):
    """Depth-wise 7 x 7 convolution, layer norm, MLP of four times the width, scaled and added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_scale = nn.Parameter(torch.full((width, 1, 1), 1e-6))
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            _ChannelsLast(0, 2, 3, 1),
            nn.LayerNorm(width, EPS),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            _ChannelsLast(0, 3, 1, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.block(x)
        return x + self.layer_scale * change


class ConvNeXtLogits(nn.Module):
    """Mean squared difference of the logits of pictures [B, 3, H, W] in [0, 1]; frozen."""

    name = "convnext-s"
    needs = "ConvNeXt-S of torchvision (convnext_small-*.pth)"
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for width, depth in zip(WIDTHS, DEPTHS, strict=True):
            if not stages:
                shrink: list[nn.Module] = [nn.Conv2d(before, width, 4, 4), _ChannelNorm(width, EPS)]
            else:
                shrink = [_ChannelNorm(before, EPS), nn.Conv2d(before, width, 2, 2)]
            stages += [nn.Sequential(*shrink), nn.Sequential(*(_Block(width) for _ in range(depth)))]
            before = width
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Sequential(_ChannelNorm(before, EPS), nn.Flatten(1), nn.Linear(before, 1000))
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    @staticmethod
    def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a released file if it is a ConvNeXt; otherwise nothing."""
        return dict(state) if "features.1.0.layer_scale" in state else {}

    def logits(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1], resized to 224, to logits [B, 1000]."""
        pictures = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        maps = self.features((pictures - self.mean) / self.std)
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(maps, 1))
        return logits

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """The mean squared difference of their logits."""
        return F.mse_loss(self.logits(made), self.logits(wanted))

    def train(self, mode: bool = True) -> ConvNeXtLogits:
        """Stays in evaluation mode, whatever the module around it does."""
        return super().train(False)
