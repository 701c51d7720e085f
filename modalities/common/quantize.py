"""Quantizers: continuous latents to codes and back, behind one signature.

    forward(z [B, K, D]) -> Quantized(z_q [B, K, D], ids, loss)     lookup(ids) -> z_q [B, K, D]

`ids` are int64 [B, K], or [B, K, P] when a position carries several codes (`parts`). `size` counts all
codes (with parts: their sum), as `unitok.modality.Spec` does. `z_q` passes gradients straight through.
`margin(z)` says how far each position is from another code, so that a caller can recompute close calls
in one fixed way. For every legal id `encode(inverse(ids)) == ids`.

- `FSQ`: Mentzer et al., Finite Scalar Quantization, arXiv:2309.15505, in the symmetric form of
  Parker et al., arXiv:2411.19842 (equal steps from -1 to 1, two levels allowed).
- `VQ`: van den Oord et al., arXiv:1711.00937, with an EMA codebook, a start from data, and dead codes
  revived from the batch (Dhariwal et al., arXiv:2005.00341, section 3.2).
- `Binary`: one bit per channel, straight through; the bits travel in groups of eight.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

BITS_PER_PART = 8


class Quantized(NamedTuple):
    """Quantised latents [B, K, D] with straight-through gradient, codes [B, K] or [B, K, P], and a loss."""

    z_q: Tensor
    ids: Tensor
    loss: Tensor


class Quantizer(nn.Module, ABC):
    """Base of all quantizers; see the module's first lines for the signature."""

    dim: int
    """Channels of a latent, the D of z [B, K, D]."""
    size: int
    """How many codes there are; with parts their sum."""
    parts: tuple[int, ...] = ()
    """Codes per position when there are several: ids[..., j] < parts[j]."""

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]."""

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes [B, K] or [B, K, P]."""

    @abstractmethod
    def margin(self, z: Tensor) -> Tensor:
        """How far each position of z [B, K, D] is from having another code: [B, K], at least 0."""

    def encode(self, z: Tensor) -> Tensor:
        """The codes of z [B, K, D], without gradient: [B, K] or [B, K, P]."""
        with torch.no_grad():
            return self.forward(z).ids

    def inverse(self, ids: Tensor) -> Tensor:
        """Some latents [B, K, D] that have these codes."""
        return self.lookup(ids)

    @property
    def bits(self) -> float:
        """Bits that one position can carry."""
        return sum(math.log2(part) for part in self.parts or (self.size,))


class FSQ(Quantizer):
    """Finite scalar quantization: channel i is squashed by tanh and rounded to one of levels[i] values.

    The id is a mixed-radix number whose first channel is the lowest digit: id = d0 + L0 * (d1 + L1 * ...),
    digit d of L levels standing for the value 2d / (L - 1) - 1.

    Args:
        levels: levels of each channel, (8, 6, 5); or one such tuple for each of the K positions, all with
            the same product, to spend one position's bits on few channels finely and another's on many
            coarsely. Shorter tuples are filled with channels of one level, which are always 0.
    """

    levels: Tensor
    base: Tensor

    def __init__(self, levels: Sequence[int] | Sequence[Sequence[int]]) -> None:
        super().__init__()
        table = [tuple(row) if isinstance(row, Sequence) else None for row in levels]
        rows = [row for row in table if row is not None] or [tuple(int(n) for n in levels)]  # type: ignore[arg-type]
        sizes = {math.prod(row) for row in rows}
        if len(sizes) != 1 or min(min(row, default=0) for row in rows) < 1 or max(sizes) < 2:
            raise ValueError(
                f"FSQ levels {list(levels)} are not usable: every level must be at least 1, and all "
                f"positions must have one product, at least 2 (here {sorted(sizes)})"
            )
        self.shared = len(rows) == 1 and table[0] is None
        self.dim = max(len(row) for row in rows)
        self.size = sizes.pop()
        filled = torch.tensor([row + (1,) * (self.dim - len(row)) for row in rows])  # [1 or K, D]
        base = torch.cumprod(F.pad(filled, (1, 0), value=1), dim=-1)[:, :-1]
        self.register_buffer("levels", filled, persistent=False)
        self.register_buffer("base", base, persistent=False)

    def _at(self, table: Tensor, count: int) -> Tensor:
        """The rows of a [1 or K, D] table for `count` positions (a prefix of the K)."""
        if self.shared:
            return table
        if count > table.shape[0]:
            raise ValueError(f"{count} positions, but this FSQ has levels for {table.shape[0]}")
        return table[:count]

    def _place(self, z: Tensor) -> Tensor:
        """Where z [B, K, D] lies on each channel's scale of digits: 0 .. levels - 1, not yet rounded."""
        return (torch.tanh(z) + 1) / 2 * (self._at(self.levels, z.shape[1]) - 1)

    def _value(self, digits: Tensor) -> Tensor:
        steps = self._at(self.levels, digits.shape[1]) - 1
        return torch.where(steps > 0, 2 * digits / steps.clamp(min=1) - 1, 0.0)

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]; ids [B, K]."""
        place = self._place(z.float())
        digits = torch.floor(place + 0.5).long()
        ids = (digits * self._at(self.base, z.shape[1])).sum(-1)  # [B, K]
        soft = torch.where(self._at(self.levels, z.shape[1]) > 1, torch.tanh(z.float()), 0.0)
        z_q = soft + (self._value(digits) - soft).detach()
        return Quantized(z_q.to(z.dtype), ids, z.new_zeros(()))

    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes."""
        base, levels = self._at(self.base, ids.shape[1]), self._at(self.levels, ids.shape[1])
        return self._value(ids.unsqueeze(-1) // base % levels)  # [B, K, D]

    def inverse(self, ids: Tensor) -> Tensor:
        """Latents [B, K, D] in the middle of each code's cell, as they are before tanh."""
        return torch.atanh(0.99 * self.lookup(ids))

    def margin(self, z: Tensor) -> Tensor:
        """Distance [B, K] to the nearest rounding boundary, in levels."""
        place = self._place(z.float())
        gap = (place - torch.floor(place) - 0.5).abs()  # to the boundary between two digits
        gap = torch.where(self._at(self.levels, z.shape[1]) > 1, gap, torch.inf)
        return gap.amin(-1)


class VQ(Quantizer):
    """Vector quantization with an EMA codebook.

    The codebook is a buffer moved by running averages rather than a trained parameter: a partitioned
    optimizer (ZeRO) writes parameters back after each step and would undo the start from data and revivals.
    In a distributed run every rank applies the same update.

    Args:
        size: codes.
        dim: channels of a code.
        l2: compare on the unit sphere: latents and codes are normalised, and so is `z_q`.
        commitment: weight of the pull of latents to their codes.
        decay: of the running averages.
        revive_below: codes used less than this share of a fair 1/size are moved onto latents of the batch;
            0 never revives.
    """

    codebook: Tensor
    count: Tensor
    total: Tensor
    ready: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        l2: bool = False,
        commitment: float = 0.25,
        decay: float = 0.95,
        revive_below: float = 0.02,
    ) -> None:
        super().__init__()
        if size < 2 or dim < 1:
            raise ValueError(f"VQ of {size} codes in {dim} channels: need at least 2 codes and 1 channel")
        self.size, self.dim, self.l2 = size, dim, l2
        self.commitment, self.decay, self.revive_below = commitment, decay, revive_below
        self.register_buffer("codebook", self._normal(torch.randn(size, dim)))
        self.register_buffer("count", torch.ones(size), persistent=False)
        self.register_buffer("total", self.codebook.clone(), persistent=False)
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def _normal(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) if self.l2 else x

    def _distance(self, flat: Tensor) -> Tensor:
        """Squared distances [n, size] up to a constant of each row; flat is [n, D], normalised for l2."""
        return self.codebook.square().sum(-1) - 2 * flat @ self.codebook.t()

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]; ids [B, K]."""
        latents = self._normal(z.float())
        flat = rearrange(latents, "b k d -> (b k) d")
        if self.training and not bool(self.ready):
            self.start(flat.detach())
        nearest = self._distance(flat.detach()).argmin(-1)
        ids = rearrange(nearest, "(b k) -> b k", b=z.shape[0])
        codes = F.embedding(ids, self.codebook)
        if self.training:
            codes = codes.clone()  # the codebook moves below, before the loss is differentiated
            self._update(flat.detach(), nearest)
        loss = self.commitment * F.mse_loss(latents, codes)
        return Quantized((latents + (codes - latents).detach()).to(z.dtype), ids, loss)

    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes."""
        return F.embedding(ids, self.codebook)

    def margin(self, z: Tensor) -> Tensor:
        """Squared distance [B, K] between the second-nearest code and the nearest."""
        flat = rearrange(self._normal(z.float()), "b k d -> (b k) d")
        two = self._distance(flat).topk(2, dim=-1, largest=False).values
        return rearrange(two[:, 1] - two[:, 0], "(b k) -> b k", b=z.shape[0])

    @torch.no_grad()
    def start(self, flat: Tensor) -> None:
        """Put the codes onto latents flat [n, D], drawn with a little noise where there are too few."""
        self.codebook.copy_(self._draw(flat, self.size))
        self.total.copy_(self.codebook)
        self.count.fill_(1.0)
        self.ready.fill_(True)

    def _draw(self, flat: Tensor, count: int) -> Tensor:
        """`count` latents of the batch [n, D], the same on every rank (rank 0 draws)."""
        order = torch.randperm(flat.shape[0], device=flat.device)
        pick = flat[order.repeat(-(-count // flat.shape[0]))[:count]]
        if count > flat.shape[0]:
            pick = pick + 0.01 * flat.std() * torch.randn_like(pick)
        pick = self._normal(pick).contiguous()
        if dist.is_initialized():
            dist.broadcast(pick, src=0)
        return pick

    @torch.no_grad()
    def _update(self, flat: Tensor, nearest: Tensor) -> None:
        count = torch.bincount(nearest, minlength=self.size).float()
        total = torch.zeros_like(self.codebook).index_add_(0, nearest, flat)
        if dist.is_initialized():
            dist.all_reduce(count)
            dist.all_reduce(total)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        alive = self.count > 1e-6
        self.codebook.copy_(
            torch.where(
                alive[:, None], self._normal(self.total / self.count[:, None].clamp(min=1e-6)), self.codebook
            )
        )
        fair = self.count.sum() / self.size
        dead = self.count < self.revive_below * fair
        if self.revive_below > 0 and bool(dead.any()):
            fresh = self._draw(flat, int(dead.sum()))
            self.codebook[dead], self.total[dead], self.count[dead] = fresh, fresh * fair, fair


class Binary(Quantizer):
    """One bit per channel, the sign of the latent: value 1 for a bit that is set (z > 0), else -1.

    Bit order: channel c is bit c mod 8 of part c // 8, least significant first. Up to eight bits make one
    code, ids [B, K]; more make parts of 256 (the last one smaller if need be), ids [B, K, P].

    Args:
        bits: channels.
        entropy: weight of a loss that wants each bit sure for one latent and even over the batch
            (as in Yu et al., arXiv:2310.05737, per bit); 0 = off.
    """

    weight: Tensor

    def __init__(self, bits: int, *, entropy: float = 0.0) -> None:
        super().__init__()
        if bits < 1:
            raise ValueError(f"Binary of {bits} bits: need at least 1")
        self.dim, self.entropy = bits, entropy
        groups = [min(BITS_PER_PART, bits - at) for at in range(0, bits, BITS_PER_PART)]
        sizes = tuple(2**group for group in groups)
        self.size, self.parts = sum(sizes), sizes if len(sizes) > 1 else ()
        weight = torch.zeros(bits, len(sizes), dtype=torch.long)
        for channel in range(bits):
            weight[channel, channel // BITS_PER_PART] = 2 ** (channel % BITS_PER_PART)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]; ids [B, K]."""
        soft = torch.tanh(z.float())
        bits = z > 0
        ids = (bits.unsqueeze(-1) * self.weight).sum(-2)  # [B, K, P]
        z_q = soft + (2.0 * bits - 1 - soft).detach()
        return Quantized(z_q.to(z.dtype), ids if self.parts else ids.squeeze(-1), self._loss(z))

    def _loss(self, z: Tensor) -> Tensor:
        if self.entropy == 0:
            return z.new_zeros(())
        p = torch.sigmoid(4 * z.float())
        sure, even = _bit_entropy(p).mean(), _bit_entropy(p.mean((0, 1))).mean()
        return self.entropy * (sure - even)

    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes."""
        parts = ids if self.parts else ids.unsqueeze(-1)  # [B, K, P]
        channel = torch.arange(self.dim, device=ids.device)
        bits = parts[..., channel // BITS_PER_PART] >> (channel % BITS_PER_PART) & 1
        return 2.0 * bits - 1

    def margin(self, z: Tensor) -> Tensor:
        """The smallest absolute channel [B, K]."""
        return z.float().abs().amin(-1)


def _bit_entropy(p: Tensor) -> Tensor:
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log() + (1 - p) * (1 - p).log())


def build_quantizer(
    kind: str,
    *,
    levels: Sequence[int] | Sequence[Sequence[int]] = (8, 6, 5),
    size: int = 1024,
    dim: int = 8,
    bits: int = 8,
    l2: bool = True,
) -> Quantizer:
    """A quantizer by name: "fsq" (takes levels), "vq" (size, dim, l2) or "binary" (bits)."""
    if kind == "fsq":
        return FSQ(levels)
    if kind == "vq":
        return VQ(size, dim, l2=l2)
    if kind == "binary":
        return Binary(bits)
    raise ValueError(f"no quantizer is called {kind!r}: use 'fsq', 'vq' or 'binary'")
