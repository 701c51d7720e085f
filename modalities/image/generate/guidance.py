"""Schedules of classifier-free guidance: how strongly the class counts at each step of a generator.

    scale = power_cosine(step / steps, peak=6.9, power=2.8)
    logits = guided(with_class, without, scale)                  # without + scale * (with - without)

A scale of 1 is no guidance. Papers that write with + s * (with - without) mean a scale of 1 + s here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

Schedule = Callable[[float], float]
"""Progress in [0, 1) to a scale."""


def guided(with_class: Tensor, without: Tensor, scale: float) -> Tensor:
    """Logits moved away from those without the class."""
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
