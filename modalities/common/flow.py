"""Rectified flow (Liu et al., arXiv:2209.03003; Lipman et al., arXiv:2210.02747): straight ways between two ends.

    x = between(start, end, t)                       # where a way is at time t
    loss = (net(x, t) - velocity_target(start, end)).square().mean()
    end = euler(net, start, torch.linspace(0, 1, 21))

Which end is noise and which the data is the caller's choice: FlexTok goes from noise at time 1 to latents at
time 0, FlowTok from text at 0 to pictures at 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor


def between(start: Tensor, end: Tensor, t: Tensor, least: float = 0.0) -> Tensor:
    """The point at times t [B] of ways from start [B, ...] (t = 0) to end (t = 1).

    `least` of the start is left at time 1, as in FlowTok (1e-5), so that the last point still has some width.
    """
    t = t.view(-1, *[1] * (start.dim() - 1))
    return (1 - (1 - least) * t) * start + t * end


def velocity_target(start: Tensor, end: Tensor, least: float = 0.0) -> Tensor:
    """The derivative of `between` by time, the same all along the way."""
    return end - (1 - least) * start


def logit_normal(
    count: int,
    *,
    stratified: bool = False,
    generator: Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Times of training, float32 [count] in (0, 1): sigmoid of a normal number (Esser et al., arXiv:2403.03206, 3.1).

    With `stratified` every one of `count` equal parts of the distribution gives one time, in random order.
    """
    if not stratified:
        return torch.randn(count, generator=generator, device=device).sigmoid()
    part = torch.randperm(count, generator=generator, device=device)
    share = (part + torch.rand(count, generator=generator, device=device)) / count
    normal = torch.special.ndtri(share.clamp(1e-6, 1 - 1e-6))
    return normal.sigmoid()


def euler(
    net: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Tensor, at: Tensor | None = None
) -> Tensor:
    """Follow a velocity from times[0] to times[-1] by Euler steps.

    Args:
        net: (x [B, ...], t scalar) -> velocity [B, ...].
        x: where to begin, [B, ...].
        times: [S + 1], rising or falling.
        at: times [S] that the network is asked at, if other than the beginnings of the steps.
    """
    if times.dim() != 1 or len(times) < 2:
        raise ValueError(f"times of shape {list(times.shape)}: S steps need a list of S + 1 times")
    asked = times[:-1] if at is None else at
    for now, before, after in zip(asked, times[:-1], times[1:], strict=True):
        x = x + (after - before) * net(x, now)
    return x
