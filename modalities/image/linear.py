"""The linear path: principal components beside the transformers. Not part of TiTok as published.

A small TiTok trained from scratch for minutes reaches 14 to 15 dB on 64-pixel emoji, less than an 8x8
thumbnail. With this path the encoder's latents start as the leading principal components of the training
pictures, and the decoder's picture starts as their back-projection; the transformers add corrections that
begin at zero. One matrix serves both ways: components = (x - mean) @ basis.T, x = mean + components @ basis.

The components lie coarse to fine over the K tokens: the first tokens hold few components of large variance,
the last ones many of small variance, so that every token carries the same share of the information
(`divide`), which is what equal codebooks can use best (reverse water-filling, Cover and Thomas, 10.3.3).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class LinearPath(nn.Module):
    """Pictures [B, 3, S, S] <-> latents [B, K, D] through principal components of a reduced picture.

    Args:
        size: S, side of the pictures in pixels.
        reduced: side of the reduced picture on which the components are defined; divides S.
        tokens, dim: K and D.
        components: how many components, at most K * D.
    """

    slot: Tensor  # [components], the place k * D + d of each component
    scale: Tensor  # [components], latents = components * scale
    spread: Tensor  # [K, D], standard deviation of each latent, 1 where a place holds no component
    gain: Tensor  # [components], components = quantised latents * gain

    def __init__(self, size: int, reduced: int, tokens: int, dim: int, components: int) -> None:
        super().__init__()
        if size % reduced or components > tokens * dim:
            raise ValueError(
                f"linear path: {reduced} must divide {size}, and {components} components must fit in "
                f"{tokens} tokens of {dim} channels"
            )
        self.size, self.reduced, self.tokens, self.dim = size, reduced, tokens, dim
        pixels = 3 * reduced * reduced
        self.mean = nn.Parameter(torch.full((pixels,), 0.5))
        self.basis = nn.Parameter(torch.randn(components, pixels) / pixels**0.5)
        self.register_buffer("slot", torch.arange(components))
        self.register_buffer("scale", torch.ones(components))
        self.register_buffer("spread", torch.ones(tokens, dim))
        self.register_buffer("gain", torch.ones(components))

    def reduce(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] averaged down and flattened: [B, 3 * reduced ** 2]."""
        return rearrange(F.avg_pool2d(pictures, self.size // self.reduced), "b c h w -> b (c h w)")

    def encode(self, pictures: Tensor) -> Tensor:
        """The linear part of the latents [B, K, D]."""
        return self.latents(self.reduce(pictures))

    def latents(self, rows: Tensor) -> Tensor:
        """The same from reduced pictures [B, 3 * reduced ** 2]."""
        components = (rows - self.mean) @ self.basis.t() * self.scale
        latents = components.new_zeros(len(rows), self.tokens * self.dim)
        latents = latents.index_copy(1, self.slot, components)
        return rearrange(latents, "b (k d) -> b k d", k=self.tokens)

    def decode(self, latents: Tensor) -> Tensor:
        """The linear part of the pictures [B, 3, S, S]."""
        components = rearrange(latents, "b k d -> b (k d)")[:, self.slot] * self.gain
        small = self.mean + components @ self.basis
        small = rearrange(small, "b (c h w) -> b c h w", c=3, h=self.reduced)
        return F.interpolate(small, size=self.size, mode="bicubic", align_corners=False)

    @torch.no_grad()
    def start(self, rows: Tensor, bits: float, whiten: float = 0.0) -> None:
        """Set mean and basis from reduced pictures.

        Args:
            rows: float32 [n, 3 * reduced ** 2], as `reduce` gives them.
            bits: what one token can carry; decides which components share a token.
            whiten: 0 leaves the components in pixel units (for VQ, whose distance is then that of
                pictures); w > 0 scales every component to standard deviation w (for FSQ and Binary).
        """
        count = self.basis.shape[0]
        mean = rows.mean(0, dtype=torch.float64)
        self.mean.copy_(mean)
        square = torch.zeros(len(mean), len(mean), dtype=torch.float64)
        for part in torch.split(rows, 4096):  # in pieces: all rows in double precision take gigabytes
            centred = part.double() - mean
            square.addmm_(centred.t(), centred)
        variance, vectors = torch.linalg.eigh(square / len(rows))  # ascending
        vectors = vectors[:, -count:].flip(1).t()
        sign = torch.sign(vectors.gather(1, vectors.abs().argmax(1, keepdim=True)))  # fix the sign
        self.basis.copy_(vectors * sign)
        deviation = variance[-count:].flip(0).clamp(min=1e-12).sqrt()
        self.scale.copy_(whiten / deviation if whiten else 1 / deviation[0])
        self.gain.copy_(1 / self.scale)
        groups = divide(deviation.square().tolist(), self.tokens, self.dim, bits)
        slots = [k * self.dim + d for k, group in enumerate(groups) for d in range(group)]
        self.slot.copy_(torch.tensor(slots))
        self.spread.fill_(1.0).view(-1)[self.slot] = (deviation * self.scale).to(self.spread.dtype)

    @torch.no_grad()
    def fit_gain(self, latents: Tensor, quantised: Tensor) -> None:
        """Set the gain of every component by least squares from latents and z_q, both [n, K, D]."""
        wanted = rearrange(latents, "n k d -> n (k d)")[:, self.slot] / self.scale
        given = rearrange(quantised, "n k d -> n (k d)")[:, self.slot]
        self.gain.copy_((wanted * given).sum(0) / given.square().sum(0).clamp(min=1e-12))


def divide(variance: list[float], tokens: int, dim: int, bits: float) -> list[int]:
    """How many of the components (variances descending) each token holds, at most `dim`, in order.

    Under an ideal code at the water level that spends tokens * bits bits, a component of variance v takes
    log2(v / level) / 2 bits; the groups are cut where these sums pass multiples of an equal share.
    """
    spread = torch.tensor(variance, dtype=torch.float64)
    low, high = spread.min() / 16, spread.max()
    for _ in range(60):
        level = (low * high).sqrt()
        spent = (0.5 * torch.log2(spread / level)).clamp(min=0).sum()
        low, high = (level, high) if spent > tokens * bits else (low, level)
    need = (0.5 * torch.log2(spread / level)).clamp(min=1e-6)
    place = (need.cumsum(0) - need / 2) / need.sum() * tokens
    sizes = torch.bincount(place.long().clamp(max=tokens - 1), minlength=tokens).tolist()
    for k in range(tokens - 1, 0, -1):  # what is too much for a token goes to the one before it ...
        sizes[k - 1] += max(0, sizes[k] - dim)
        sizes[k] = min(sizes[k], dim)
    for k in range(tokens - 1):  # ... and, where the first ones are full, to those after
        sizes[k + 1] += max(0, sizes[k] - dim)
        sizes[k] = min(sizes[k], dim)
    return [int(size) for size in sizes]
