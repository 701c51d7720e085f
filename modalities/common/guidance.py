"""Classifier-free guidance: how strongly a condition counts at each step of a generator.

    scale = power_cosine(step / steps, peak=6.9, power=2.8)
    logits = guided(with_class, without, scale)                  # without + scale * (with - without)

    apg = Projected(7.5)                                        # a new one for each sample of pictures
    velocity = apg(with_condition, without)

A scale of 1 is no guidance. Papers that write with + s * (with - without) mean a scale of 1 + s here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Schedule = Callable[[float], float]
"""Progress in [0, 1) to a scale."""


def guided(with_class: Tensor, without: Tensor, scale: float) -> Tensor:
    """Logits, or velocities, moved away from those without the condition."""
    return without + scale * (with_class - without)


def constant(scale: float) -> Schedule:
    """The same at every step."""
    return lambda _: scale


def linear(peak: float) -> Schedule:
    """From 1 at the first step up to 1 + peak at the end (Chang et al., arXiv:2301.00704, section 2.7)."""
    return lambda progress: 1 + peak * progress


def power_cosine(peak: float, power: float) -> Schedule:
    """From 1 up to `peak` along a cosine of progress ** power (Gao et al., arXiv:2303.14389)."""
    return lambda progress: (peak - 1) * (1 - math.cos(math.pi * progress**power)) / 2 + 1


def late(scale: float, start: float) -> Schedule:
    """1 until `start` of the way, then `scale` (Kynkäänniemi et al., arXiv:2404.07724, one-sided)."""
    return lambda progress: scale if progress >= start else 1.0


class Projected:
    """Adaptive projected guidance (Sadat et al., arXiv:2410.02416): stronger scales without burnt colours.

    Of the direction (with - without) only what stands at right angles to the conditional prediction is added; it is
    smoothed over the steps by a momentum and its length is bounded, each picture by itself.

    Args:
        scale: as in `guided`; 1 is no guidance.
        momentum: share of the last step's direction; negative leads away from it.
        most: longest direction (2-norm over a whole picture); 0 = any.
        parallel: share of the direction along the prediction that is kept.
    """

    def __init__(
        self, scale: float, *, momentum: float = -0.5, most: float = 2.5, parallel: float = 0.0
    ) -> None:
        self.scale, self.momentum, self.most, self.parallel = scale, momentum, most, parallel
        self._last: Tensor | None = None

    def __call__(self, with_condition: Tensor, without: Tensor) -> Tensor:
        """Two predictions [B, ...] of one step -> the guided one; call it once per step, in order."""
        ahead = with_condition - without
        if self._last is not None:
            ahead = ahead + self.momentum * self._last
        self._last = ahead
        flat = ahead.flatten(1).double()  # a projection loses digits in single precision
        if self.most:
            length = flat.norm(dim=1, keepdim=True)
            flat = flat * (self.most / length.clamp(min=1e-12)).clamp(max=1.0)
        unit = F.normalize(with_condition.flatten(1).double(), dim=1)
        along = (flat * unit).sum(1, keepdim=True) * unit
        kept = (flat - along + self.parallel * along).view_as(ahead).to(ahead.dtype)
        return with_condition + (self.scale - 1) * kept
