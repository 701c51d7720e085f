"""A stage of the front end in training, forward and backward in closed form: groups -> residual layers -> maximum.

    pooled [B, G, C], moments = Stage.apply(x [B, N, C/2], middle [B, G, C/2], sines [B, G, K, C], index [B, G, K], *params)

Numerically this is the plain sequence of layers; what differs is the work. A residual layer is
relu(BN2(W2 r) + z) with r = relu(BN1(W1 z + b1)), over M = B G K rows:

- Rows go through in chunks that stay in the cache, so that norms and activations cost little beside the products.
- Mean and variance of W2 r follow from the sum and the Gram matrix of r, so W2 r is made once, where it is needed,
  and never kept; backward uses the Gram matrix again.
- Only one row of each group and channel is the maximum. The gradient of the last layer's output is that sparse,
  and batch normalisation adds to it only a constant and a multiple of W2 r: products with the whole gradient
  become sparse ones and one with a square matrix of the bottleneck's size.
- Gradients of the first layer's input are summed over neighbours before they meet W1, not after.

`moments` are the batch statistics for the running averages: mean and variance of each norm, not differentiable.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..sample import gather

ROWS = 4096
"""Rows of a chunk on a CPU; on a GPU all rows go at once."""
EPS = 1e-5


class Layer(NamedTuple):
    """Parameters of a residual layer."""

    w1: Tensor  # [I, C]
    b1: Tensor
    scale1: Tensor
    shift1: Tensor
    w2: Tensor  # [C, I]
    b2: Tensor  # batch normalisation takes it away again, as it does b1
    scale2: Tensor
    shift2: Tensor


PARTS = len(Layer._fields)


class Kept(NamedTuple):
    """What backward needs of a residual layer."""

    z: Tensor  # [M, C], the input
    h: Tensor  # [M, I], W1 z + b1
    mean1: Tensor
    std1: Tensor
    mean2: Tensor  # of W2 r
    std2: Tensor
    total: Tensor  # [I], sum of r
    gram: Tensor  # [I, I], sum of r r^T


def _chunks(count: int, group: int, device: torch.device) -> list[slice]:
    """Slices of whole groups."""
    step = count if device.type != "cpu" else max(1, ROWS // group) * group
    return [slice(at, min(at + step, count)) for at in range(0, count, step)]


def _affine(kept: Kept, layer: Layer) -> tuple[Tensor, Tensor]:
    """Scale and shift of BN1, [I] each."""
    scale = layer.scale1 / kept.std1
    return scale, layer.shift1 - kept.mean1 * scale


def _inner(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """r of rows h."""
    return torch.addcmul(shift, h, scale).relu_()


def _measured(z: Tensor, layer: Layer, chunks: list[slice]) -> Kept:
    """The first half of a residual layer, and the statistics of both norms."""
    count = len(z)
    h = z.new_empty(count, len(layer.w1))
    total = h.new_zeros(2, h.shape[1], dtype=torch.float64)
    for rows in chunks:
        torch.addmm(layer.b1, z[rows], layer.w1.t(), out=h[rows])
        moved = h[rows] - layer.b1  # near the mean: squares lose less
        total += torch.stack([moved.sum(0), moved.square().sum(0)]).double()
    mean = total[0] / count
    std1 = (total[1] / count - mean.square() + EPS).sqrt().to(z.dtype)
    mean1 = (mean + layer.b1.double()).to(z.dtype)
    scale = layer.scale1 / std1
    shift = layer.shift1 - mean1 * scale
    gram = h.new_zeros(h.shape[1], h.shape[1], dtype=torch.float64)
    total1 = h.new_zeros(h.shape[1], dtype=torch.float64)
    for rows in chunks:
        r = _inner(h[rows], scale, shift)
        gram += (r.t() @ r).double()
        total1 += r.sum(0).double()
    w2 = layer.w2.double()
    average = total1 / count
    spread = gram / count - torch.outer(average, average)
    std2 = (((w2 @ spread) * w2).sum(1).clamp(min=0) + EPS).sqrt()
    rest = (each.to(z.dtype) for each in (w2 @ average, std2, total1, gram))
    return Kept(z, h, mean1, std1, *rest)


class Stage(torch.autograd.Function):
    """See the module."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, middle: Tensor, sines: Tensor, index: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        """x [B, N, C/2], middle [B, G, C/2], sines [B, G, K, C] (overwritten), index [B, G, K] -> see the module."""
        batch, groups, neighbours, width = sines.shape
        half = width // 2
        sines[..., :half] += gather(x, index)
        sines[..., half:] += middle[:, :, None]
        z = sines.reshape(-1, width)
        chunks = _chunks(len(z), neighbours, z.device)
        layers = [Layer(*parameters[i : i + PARTS]) for i in range(0, len(parameters), PARTS)]
        kept: list[Kept] = []
        moments: list[Tensor] = []
        pooled = z.new_empty(batch * groups, width)
        best = torch.empty(batch * groups, width, dtype=torch.int64, device=z.device)
        for number, layer in enumerate(layers):
            known = _measured(z, layer, chunks)
            kept.append(known)
            moments += [known.mean1, known.std1.square() - EPS, known.mean2, known.std2.square() - EPS]
            scale, shift = _affine(known, layer)
            scale2 = layer.scale2 / known.std2
            w2, shift2 = (layer.w2 * scale2[:, None]).t(), layer.shift2 - known.mean2 * scale2
            last = number == len(layers) - 1
            out = z.new_empty(0) if last else torch.empty_like(z)
            for rows in chunks:
                made = torch.addmm(shift2, _inner(known.h[rows], scale, shift), w2).add_(z[rows]).relu_()
                if last:
                    part = slice(rows.start // neighbours, rows.stop // neighbours)
                    torch.max(made.view(-1, neighbours, width), 1, out=(pooled[part], best[part]))
                else:
                    out[rows] = made
            z = out
        ctx.kept, ctx.layers, ctx.sizes = kept, layers, (batch, groups, neighbours, width, x.shape[1])
        ctx.save_for_backward(index, pooled, best)
        ctx.mark_non_differentiable(*moments)
        return pooled.view(batch, groups, width), *moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, middle and the parameters."""
        index, pooled, best = ctx.saved_tensors
        batch, groups, neighbours, width, count = ctx.sizes
        half, total = width // 2, batch * groups * neighbours
        chunks = _chunks(total, neighbours, pooled.device)
        sparse = gradient.reshape(-1, width) * (pooled > 0)  # [B G, C], at row `best` of each group
        dense: Tensor | None = None
        found: list[Tensor] = []
        for number in range(len(ctx.layers) - 1, -1, -1):
            layer, kept = ctx.layers[number], ctx.kept[number]
            e, parts = _outer(layer, kept, sparse, best, dense, neighbours, chunks)
            dw1, rest, before = _first(layer, kept, e, parts, chunks, number > 0)
            found = [dw1, *rest, *found]
            if number:
                assert before is not None
                before = _residual(before, sparse if dense is None else None, best, dense, neighbours)
                dense = before.mul_(kept.z > 0)  # of the layer before, whose output z is
        # e is now the gradient of the first layer's h, `dense` or `sparse` that of the sum
        flat = index.flatten(1)
        near = e.view(batch, -1, e.shape[1])
        each = e.new_zeros(batch, count, e.shape[1])
        each = each.scatter_add_(1, flat[:, :, None].expand_as(near), near)
        w1 = ctx.layers[0].w1
        dx = each @ w1[:, :half]
        dm = e.view(batch, groups, neighbours, -1).sum(2) @ w1[:, half:]
        if dense is None:
            d = sparse.view(batch, groups, width)
            at = index.gather(2, best.view(batch, groups, width)[..., :half])  # [B, G, C/2], points
            dx.scatter_add_(1, at, d[..., :half].contiguous())
            dm += d[..., half:]
        else:
            d = dense.view(batch, groups, neighbours, width)
            near = d[..., :half].reshape(batch, -1, half)
            dx.scatter_add_(1, flat[:, :, None].expand_as(near), near)
            dm += d[..., half:].sum(2)
        return dx, dm, None, None, *found


def _outer(
    layer: Layer,
    kept: Kept,
    sparse: Tensor,
    best: Tensor,
    dense: Tensor | None,
    neighbours: int,
    chunks: list[slice],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Back through BN2, W2, relu: the gradient [M, I] of BN1's output, and those of W2, b2, scale 2, shift 2."""
    count, inner = kept.h.shape
    scale, shift = _affine(kept, layer)
    scale2 = layer.scale2 / kept.std2
    if dense is None:
        dr, product = _sparse_products(
            layer.w2 * scale2[:, None], kept, layer, sparse, best, neighbours, chunks
        )
        dshift2 = sparse.sum(0)
    else:
        dr = kept.h.new_empty(count, inner)
        w2 = layer.w2 * scale2[:, None]
        product = dr.new_zeros(len(w2), inner)
        for rows in chunks:
            torch.mm(dense[rows], w2, out=dr[rows])
            product.addmm_(dense[rows].t(), _inner(kept.h[rows], scale, shift))
        dshift2 = dense.sum(0)
    dscale2 = ((product * layer.w2).sum(1) - kept.mean2 * dshift2) / kept.std2
    average = kept.total / count
    slope = scale2 * dscale2 / (count * kept.std2)  # du = scale2 (d - dshift2 / M) - slope (u - mean)
    dw2 = scale2[:, None] * (product - torch.outer(dshift2 / count, kept.total))
    dw2 -= slope[:, None] * (layer.w2 @ (kept.gram - torch.outer(average, kept.total)))
    square = layer.w2.t() @ (slope[:, None] * layer.w2)  # [I, I]
    constant = average @ square - (scale2 * dshift2 / count) @ layer.w2
    for rows in chunks:
        r = _inner(kept.h[rows], scale, shift)
        dr[rows].addmm_(r, square, alpha=-1).add_(constant).mul_(r > 0)
    return dr, (dw2, torch.zeros_like(layer.b2), dscale2, dshift2)


def _sparse_products(
    w2: Tensor, kept: Kept, layer: Layer, sparse: Tensor, best: Tensor, neighbours: int, chunks: list[slice]
) -> tuple[Tensor, Tensor]:
    """D W2 [M, I] and D^T r [C, I] for the matrix D [M, C] with one entry for each group and channel."""
    count = len(kept.h)
    groups, width = sparse.shape
    columns = torch.arange(0, width * groups + 1, groups, device=sparse.device)
    rows = (torch.arange(groups, device=sparse.device)[:, None] * neighbours + best).t().reshape(-1)
    values = sparse.t().reshape(-1)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Sparse", UserWarning
        )  # torch calls these layouts beta, and unchecked
        d = torch.sparse_csc_tensor(columns, rows, values, (count, width))
        dr = d @ w2
        r = kept.h.new_empty(kept.h.shape)
        scale, shift = _affine(kept, layer)
        for part in chunks:
            r[part] = _inner(kept.h[part], scale, shift)
        turned = torch.sparse_csr_tensor(columns, rows, values, (width, count))
        return dr, turned @ r


def _first(
    layer: Layer, kept: Kept, e: Tensor, rest: tuple[Tensor, ...], chunks: list[slice], more: bool
) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """Back through BN1 and W1: `e` becomes the gradient of h; those of W1 and the others, and of z if there is `more`."""
    count = len(e)
    sums = e.new_zeros(2, e.shape[1], dtype=torch.float64)
    for rows in chunks:
        sums += torch.stack([e[rows].sum(0), (e[rows] * (kept.h[rows] - kept.mean1)).sum(0)]).double()
    dshift, dscale = sums[0].to(e.dtype), (sums[1] / kept.std1.double()).to(e.dtype)
    scale = layer.scale1 / kept.std1
    slope = scale * dscale / (count * kept.std1)
    constant = slope * kept.mean1 - scale * dshift / count
    dw1 = torch.zeros_like(layer.w1)
    before = torch.empty_like(kept.z) if more else None
    for rows in chunks:
        e[rows].mul_(scale).addcmul_(kept.h[rows], slope, value=-1).add_(constant)
        dw1.addmm_(e[rows].t(), kept.z[rows])
        if before is not None:
            torch.mm(e[rows], layer.w1, out=before[rows])
    return dw1, [torch.zeros_like(layer.b1), dscale, dshift, *rest], before


def _residual(
    before: Tensor, sparse: Tensor | None, best: Tensor, dense: Tensor | None, neighbours: int
) -> Tensor:
    """The gradient that passes by a residual layer, added to the one through it, [M, C]."""
    if dense is not None:
        return before.add_(dense)
    assert sparse is not None
    grouped = before.view(-1, neighbours, before.shape[1])
    grouped.scatter_add_(1, best[:, None], sparse[:, None])
    return before
