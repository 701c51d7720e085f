"""The linear path: principal components of transport maps, beside the transformers.

A point tokenizer trained from scratch for minutes draws ellipsoids. This path gives it a start that is
already a tokenizer, without a step of training:

    cloud -> transport map of `anchors` sphere points -> leading components, each scaled to [-1, 1]
    values in [-1, 1] -> a linear map -> transport map of `points` sphere points = the decoded cloud

Components come in order of variance, so a prefix of the codes decodes to a coarser cloud. The first tokens
hold one or two components finely, the last ones several components coarsely (`levels`), which spends equal
bits per token where they matter (reverse water-filling, Cover and Thomas, section 10.3.3).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from .transport import sphere, transports

SPANS = (1.0, 1.4, 1.9, 2.4, 2.9, 3.5, 4.2, 5.0)
"""Candidates for the half-width of a component's range, in standard deviations."""


class TransportPath(nn.Module):
    """Clouds <-> values [B, K, D] through principal components of transport maps.

    Args:
        anchors: sphere points whose maps are encoded.
        points: sphere points that are decoded; the anchors are the first of them.
        channels: how many components each of the K tokens holds; D is the largest.
    """

    slot: Tensor  # [components], the place k * D + d of each component
    reference: Tensor  # [points, 3] on the sphere
    scale: Tensor  # [components], value = component * scale

    def __init__(self, anchors: int, points: int, channels: list[int]) -> None:
        super().__init__()
        components = sum(channels)
        if anchors > points or components > 3 * anchors:
            raise ValueError(
                f"linear path: {anchors} anchors must be among {points} points, and {components} components "
                f"cannot exceed the {3 * anchors} coordinates of the anchors"
            )
        self.anchors, self.points, self.dim = anchors, points, max(channels)
        self.tokens = len(channels)
        slots = [k * self.dim + d for k, count in enumerate(channels) for d in range(count)]
        self.register_buffer("slot", torch.tensor(slots), persistent=False)
        self.register_buffer("reference", sphere(points))
        self.register_buffer("scale", torch.ones(components))
        self.mean = nn.Parameter(self.reference[:anchors].flatten().clone())
        self.basis = nn.Parameter(torch.randn(components, 3 * anchors) / (3 * anchors) ** 0.5)
        self.out_mean = nn.Parameter(self.reference.flatten().clone())
        self.out_basis = nn.Parameter(torch.zeros(components, 3 * points))

    def maps(self, clouds: Tensor) -> Tensor:
        """Transport maps [B, 3 * anchors] of clouds [B, N, 3]; no gradient."""
        return transports(clouds, self.reference[: self.anchors]).flatten(1)

    def encode(self, maps: Tensor) -> Tensor:
        """Values [B, K, D] of maps [B, 3 * anchors]; most lie in [-1, 1], none is clipped."""
        components = (maps - self.mean) @ self.basis.t() * self.scale
        values = components.new_zeros(len(maps), self.tokens * self.dim)
        return rearrange(values.index_copy(1, self.slot, components), "b (k d) -> b k d", k=self.tokens)

    def decode(self, values: Tensor) -> Tensor:
        """Clouds [B, points, 3] of values [B, K, D]; zeros stand for tokens that are not there."""
        components = rearrange(values, "b k d -> b (k d)")[:, self.slot]
        return rearrange(self.out_mean + components @ self.out_basis, "b (n c) -> b n c", c=3)

    @torch.no_grad()
    def fit_encoder(self, maps: Tensor, levels: Tensor, widen: float) -> None:
        """Set mean, basis and scale from maps [n, 3 * anchors].

        Args:
            levels: how many values each component may take [components].
            widen: the best range for the squared error is made this much wider, which makes codes near the
                middle more frequent than others: a little error for codes that are easier to predict.
        """
        rows = maps.double()
        self.mean.copy_(rows.mean(0))
        rows = rows - rows.mean(0)
        _, vectors = torch.linalg.eigh(rows.t() @ rows / len(rows))  # ascending
        vectors = vectors.flip(1)[:, : len(self.slot)].t()
        sign = torch.sign(vectors.gather(1, vectors.abs().argmax(1, keepdim=True)))  # fix the sign
        self.basis.copy_(vectors * sign)
        components = rows @ self.basis.double().t()  # [n, components]
        deviation = components.square().mean(0).sqrt().clamp(min=1e-9)
        spans = torch.stack([_error(components / deviation, levels, span) for span in SPANS]).argmin(0)
        self.scale.copy_(1 / (torch.tensor(SPANS, dtype=torch.float64)[spans] * deviation * widen))

    @torch.no_grad()
    def fit_decoder(self, values: Tensor, maps: Tensor, ridge: float = 1e-4) -> None:
        """Set the decoder by least squares: quantised values [n, K, D] -> maps [n, 3 * points]."""
        given = rearrange(values, "n k d -> n (k d)")[:, self.slot].double()
        wanted = maps.double()
        middle = given.mean(0)
        given, mean = given - middle, wanted.mean(0)
        gram = given.t() @ given
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        weights = torch.linalg.solve(gram, given.t() @ (wanted - mean))
        self.out_basis.copy_(weights)
        self.out_mean.copy_(mean - middle @ weights)


def _error(components: Tensor, levels: Tensor, span: float) -> Tensor:
    """Mean squared error [C] of rounding unit-variance components [n, C] to levels [C] even steps in +-span."""
    steps = (levels - 1).clamp(min=1)
    digits = ((components / span).clamp(-1, 1) + 1) / 2 * steps
    rounded = (2 * torch.floor(digits + 0.5) / steps - 1) * span
    return (rounded - components).square().mean(0)
