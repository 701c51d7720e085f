"""Convolutions with 3 x 3 and 2 x 2 kernels in a fraction of the products: Winograd's minimal filtering.

    convolve(x [B, C, H, W], weight [O, C, k, k], padding=1) -> [B, O, H + 3 - k, W + 3 - k]
    Conv3x3(C, O)(x [B, C, H, W]) -> [B, O, H, W]

Lavin and Gray, arXiv:1509.09308: a tile of 4 x 4 outputs comes from n x n inputs, n = 3 + k; both sides are
transformed, and the n ** 2 products over channels are matrix products, 36 instead of 144 (25 instead of 64).
`Conv3x3` uses it outside training, in fp32, on CPUs, where maps are large enough; everywhere else it is a
plain convolution. The polynomials are evaluated at 0, 3/4, -3/4, 3/2, -3/2 and infinity, which keeps the
error of a whole decoder at that of plain fp32 sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from einops import rearrange
from torch import Tensor, nn

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
SIDE = 4
"""Of a tile of outputs."""
LEAST = 1024
"""Pixels from which it is faster than the plain convolution; below, the kernels' own transform costs too much."""
TILES = 64
"""Tiles that a thread works on at once: what they need stays in its cache."""


@cache
def transforms(kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    """Those of inputs [n n, n n], kernels [n n, k k] and outputs [16, n n] for kernels of k x k; float32."""
    points = POINTS[: SIDE + kernel - 2]
    inputs, kernels = [], []
    for point in points:
        others = [other for other in points if other != point]
        row = _with_roots(others, len(points) + 1)
        scale = math.prod(point - other for other in others)
        taps = [point**power / scale for power in range(kernel)]
        # Only the product of the two counts: both are brought to one size, by a power of two.
        size = 2.0 ** round(0.5 * math.log2(sum(map(abs, taps)) / sum(map(abs, row))))
        inputs.append([each * size for each in row])
        kernels.append([each / size for each in taps])
    inputs.append(_with_roots(points, len(points) + 1))
    kernels.append([0.0] * (kernel - 1) + [1.0])
    outputs = [[point**power for point in points] + [float(power == SIDE - 1)] for power in range(SIDE)]
    both = [torch.tensor(rows, dtype=torch.float64) for rows in (inputs, kernels, outputs)]
    b, g, a = (torch.kron(each, each).float() for each in both)
    return b, g, a


def _with_roots(roots: Sequence[float], count: int) -> list[float]:
    """The `count` lowest coefficients of the polynomial with these roots, constant first."""
    found = [1.0]
    for root in roots:
        found = [low - root * high for low, high in zip([0.0, *found], [*found, 0.0], strict=True)]
    return found + [0.0] * (count - len(found))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 1) -> Tensor:
    """x [B, C, H, W] in fp32 -> [B, O, H', W'], channels last; zeros around. No gradient through it is meant."""
    kernel, outs = weight.shape[-1], weight.shape[0]
    inputs, kernels, outputs = transforms(kernel)
    u = rearrange(kernels @ rearrange(weight, "o c h w -> (h w) (c o)"), "n (c o) -> n c o", o=outs)
    x = x.permute(0, 2, 3, 1)
    batch, height, width, channels = x.shape
    high, wide = (size + 2 * padding - kernel + 1 for size in (height, width))
    down, across = -(-high // SIDE), -(-wide // SIDE)  # tiles
    made = x.new_empty(batch, SIDE * down, SIDE * across, outs)
    step = max(1, TILES * torch.get_num_threads() // across)
    for at in range(0, down, step):
        rows = min(step, down - at)
        top = SIDE * at - padding  # of the inputs
        first, last = max(0, top), min(height, top + SIDE * rows + kernel - 1)
        part = x.new_zeros(SIDE * rows + kernel - 1, SIDE * across + kernel - 1, channels)
        for picture, painted in zip(x, made, strict=True):
            part[first - top : last - top, padding : padding + width] = picture[first:last]
            tiles = part.unfold(0, SIDE + kernel - 1, SIDE).unfold(1, SIDE + kernel - 1, SIDE)
            v = inputs @ rearrange(tiles, "r t c h w -> (r t) (h w) c")
            m = torch.bmm(v.transpose(0, 1), u)  # [n n, tiles, O]
            y = outputs @ m.flatten(1)
            y = rearrange(y, "(h w) (r t o) -> (r h) (t w) o", h=SIDE, t=across, o=outs)
            painted[SIDE * at : SIDE * (at + rows)] = y
    if bias is not None:
        made += bias
    return made[:, :high, :wide].permute(0, 3, 1, 2)


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` may be used for x [B, C, H, W], and is faster."""
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.shape[2] * x.shape[3] >= LEAST
    )


class Conv3x3(nn.Conv2d):
    """A 3 x 3 convolution that keeps the size of its input.

    Args:
        channels, out: C and O.
        bias: whether there is one.
        quick: compute as `convolve` does where that is faster; single sums then differ by some 1e-5 of their size.
    """

    def __init__(self, channels: int, out: int, *, bias: bool = True, quick: bool = False) -> None:
        super().__init__(channels, out, 3, padding=1, bias=bias)
        self.quick = quick

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> [B, O, H, W]."""
        if self.quick and fits(x, self.weight):
            return convolve(x, self.weight, self.bias)
        return super().forward(x)
