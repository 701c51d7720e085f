"""LPIPS with VGG-16: a weighted distance between the features of two pictures in five depths of the network.

Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, arXiv:1801.03924.
Names of the tensors are those of the released files: `features.N.*` of VGG-16 (Simonyan & Zisserman,
arXiv:1409.1556; its classifier is not needed) and `lin0.model.1.weight` to `lin4.model.1.weight`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
_FEATURES = re.compile(r"(?:net\.slice\d\.|features\.)(\d+)\.(weight|bias)")
_HEADS = re.compile(r"lin\d\.model\.1\.weight")
LAST = 28  # the deepest convolution that is read


class _Head(nn.Module):
    """One weight per channel, under the name that the released files give it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(width, 1, 1, bias=False))


class LPIPS(nn.Module):
    """The mean distance of pictures [B, 3, H, W] in [0, 1]; frozen, always in evaluation mode."""

    name = "lpips-vgg"
    needs = (
        "VGG-16 of torchvision (vgg16-*.pth: features.*) and the linear heads of lpips v0.1 (vgg.pth: lin*)"
    )
    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        self.ends: list[int] = []  # indices of the layers that are compared: the last ReLU of each stage
        for width, count in zip(WIDTHS, CONVOLUTIONS, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self.ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        for depth, width in enumerate(WIDTHS):
            self.add_module(f"lin{depth}", _Head(width))
        # ImageNet's mean and spread, told for pictures in [-1, 1], as published
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        self.register_buffer("shift", shift[:, None, None], persistent=False)
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    @staticmethod
    def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those tensors of a released file that belong here, under our names; nothing if there are none."""
        found = {}
        for key, tensor in state.items():
            match = _FEATURES.fullmatch(key)
            if match and int(match[1]) <= LAST:
                found[f"features.{match[1]}.{match[2]}"] = tensor
            elif _HEADS.fullmatch(key):
                found[key] = tensor
        return found

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """The mean of LPIPS over pictures."""
        one, two = ((2 * each - 1 - self.shift) / self.scale for each in (made, wanted))
        total = made.new_zeros(())
        depth = 0
        for index, layer in enumerate(self.features):
            one, two = layer(one), layer(two)
            if index in self.ends:
                head = self.get_submodule(f"lin{depth}.model")
                total = total + head((_unit(one) - _unit(two)).square()).mean()
                depth += 1
        return total

    def train(self, mode: bool = True) -> LPIPS:
        """Stays in evaluation mode, whatever the module around it does."""
        return super().train(False)


def _unit(features: Tensor) -> Tensor:
    """Features [B, C, h, w] of length one over channels; a position without any stays 0."""
    square = features.square().sum(1, keepdim=True).clamp(min=1e-20)  # clamped: the root of 0 has no slope
    return features / (square.sqrt() + 1e-10)
