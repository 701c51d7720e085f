"""Binary quantization: one bit per channel, in groups of eight."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Quantized, Quantizer

BITS_PER_PART = 8


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
