"""Distances between pictures [B, 3, H, W], pixel by pixel: absolute, squared, and smooth absolute."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def l1(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference."""
    return F.l1_loss(made, wanted)


def l2(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference."""
    return F.mse_loss(made, wanted)


def smooth_l1(made: Tensor, wanted: Tensor, beta: float = 1 / 255) -> Tensor:
    """Mean absolute difference whose kink is rounded off below `beta`, one step of an 8-bit picture."""
    return F.smooth_l1_loss(made, wanted, beta=beta)
