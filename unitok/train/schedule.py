"""Learning rate as a pure function of the step, so that no resume and no change of world can lose it.

    rate(step, steps=1000, peak=3e-3, warmup=50, kind="cosine", final=0.1)

`cosine`: linear warm-up, then half a cosine to `final` x peak (Loshchilov & Hutter, "SGDR", 2017).
`wsd`: warm-up, stay, then a linear descent over the last `decay` share of the steps (Hu et al., "MiniCPM",
2024). `constant`: warm-up, then stay.
"""

from __future__ import annotations

import math
from typing import Literal

Kind = Literal["cosine", "wsd", "constant"]


def rate(
    step: int,
    *,
    steps: int,
    peak: float,
    warmup: int = 0,
    kind: Kind = "cosine",
    final: float = 0.1,
    decay: float = 0.2,
) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    Args:
        step: which step; past the end the rate stays what it was at the end.
        steps: length of the run.
        peak: the highest rate.
        warmup: steps of the linear rise; step 0 already learns.
        kind: shape after the warm-up.
        final: share of the peak that is left at the end.
        decay: for "wsd", share of the steps spent descending.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if kind == "constant":
        return peak
    start = warmup if kind == "cosine" else max(warmup, math.floor(steps * (1 - decay)))
    past = min(1.0, max(0.0, (step - start) / max(1, steps - 1 - start)))
    fall = (1 - math.cos(math.pi * past)) / 2 if kind == "cosine" else past
    return peak * (1 - fall * (1 - final))
