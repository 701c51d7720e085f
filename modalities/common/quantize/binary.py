"""Binary quantization: one bit per channel, in groups of eight.

| form | value of a bit | in training | losses |
|---|---|---|---|
| "sign" | 1 or -1 | straight through tanh | entropy: each bit sure, all even; commitment (LFQ, Yu et al., arXiv:2310.05737) |
| "sphere" | 1 or -1, over sqrt(D) | latents on the unit sphere | the same, soft bits (BSQ, Zhao et al., arXiv:2406.07548) |
| "bernoulli" | 1 or 0 | drawn with probability sigmoid(z / tau) | confidence: mean p (1 - p) (Instella-T2I, arXiv:2506.21022) |

Bit order: channel c is bit c mod 8 of part c // 8, least significant first. Up to eight bits make one code,
ids [B, K]; more make parts of 256 (the last one smaller if need be), ids [B, K, P].
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Quantized, Quantizer
from .gradient import straight

BITS_PER_PART = 8
Form = Literal["sign", "sphere", "bernoulli"]


class Binary(Quantizer):
    """One bit per channel.

    Args:
        bits: channels.
        form: see the table above.
        entropy: "sign" and "sphere": weight of the entropy loss, in nats summed over the bits: that of the
            soft bits of each latent, less `evenness` times that of their mean over the batch; 0 = off.
        evenness: see `entropy`.
        commitment: "sign" and "sphere": weight of the mean squared distance of (on the sphere: normalised)
            latents to their values; 0 = off.
        confidence: "bernoulli": weight of mean p (1 - p); 0 = off.
        temperature: "bernoulli": tau, of the draws in training.
        softness: temperature of the soft bits in the entropy loss.
    """

    weight: Tensor

    def __init__(
        self,
        bits: int,
        form: Form = "sign",
        *,
        entropy: float = 0.0,
        evenness: float = 1.0,
        commitment: float = 0.0,
        confidence: float = 0.0,
        temperature: float = 0.1,
        softness: float = 0.01,
    ) -> None:
        super().__init__()
        if bits < 1:
            raise ValueError(f"Binary of {bits} bits: need at least 1")
        self.dim, self.form = bits, form
        self.entropy, self.evenness = entropy, evenness
        self.commitment, self.confidence = commitment, confidence
        self.temperature, self.softness = temperature, softness
        groups = [min(BITS_PER_PART, bits - at) for at in range(0, bits, BITS_PER_PART)]
        sizes = tuple(2**group for group in groups)
        self.size, self.parts = sum(sizes), sizes if len(sizes) > 1 else ()
        weight = torch.zeros(bits, len(sizes), dtype=torch.long)
        for channel in range(bits):
            weight[channel, channel // BITS_PER_PART] = 2 ** (channel % BITS_PER_PART)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]; ids [B, K] or [B, K, P]."""
        x = z.float()
        if self.form == "bernoulli":
            share = torch.sigmoid(x)
            bits = (
                torch.bernoulli(torch.sigmoid(x / self.temperature)).bool() if self.training else share > 0.5
            )
            z_q = straight(share, bits.float())
        else:
            bits = x > 0
            soft = torch.tanh(x) if self.form == "sign" else F.normalize(x, dim=-1)
            z_q = straight(soft, self._value(bits))
        return Quantized(z_q.to(z.dtype), self.pack(bits), self._losses(x))

    def _value(self, bits: Tensor) -> Tensor:
        if self.form == "bernoulli":
            return bits.float()
        return (2.0 * bits - 1) / (self.dim**0.5 if self.form == "sphere" else 1.0)

    def _losses(self, x: Tensor) -> dict[str, Tensor]:
        if self.form == "bernoulli":
            share = torch.sigmoid(x)
            return {"confidence": self.confidence * (share * (1 - share)).mean()} if self.confidence else {}
        losses = {}
        if self.form == "sphere":
            x = F.normalize(x, dim=-1)
        if self.commitment:
            losses["commitment"] = self.commitment * F.mse_loss(x, self._value(x > 0))
        if self.entropy:
            # A softmax over a bit's two values a and -a by squared distance is sigmoid(4 a x / softness).
            a = self.dim**-0.5 if self.form == "sphere" else 1.0
            p = torch.sigmoid(4 * a * x / self.softness)
            sure, even = _bit_entropy(p).sum(-1).mean(), _bit_entropy(p.mean((0, 1))).sum()
            losses["entropy"] = self.entropy * (sure - self.evenness * even)
        return losses

    def pack(self, bits: Tensor) -> Tensor:
        """Codes [..., P] (or [...] with one part) of bits [..., D]."""
        ids = (bits.bool().unsqueeze(-1) * self.weight).sum(-2)
        return ids if self.parts else ids.squeeze(-1)

    def unpack(self, ids: Tensor) -> Tensor:
        """Bits, bool [..., D], of codes."""
        parts = ids if self.parts else ids.unsqueeze(-1)
        channel = torch.arange(self.dim, device=ids.device)
        return (parts[..., channel // BITS_PER_PART] >> (channel % BITS_PER_PART) & 1).bool()

    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes."""
        return self._value(self.unpack(ids))

    def inverse(self, ids: Tensor) -> Tensor:
        """Latents [B, K, D] well on the side of their bits."""
        return 2.0 * self.unpack(ids) - 1

    def margin(self, z: Tensor) -> Tensor:
        """The smallest absolute channel [B, K]."""
        return z.float().abs().amin(-1)


def _bit_entropy(p: Tensor) -> Tensor:
    p = p.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log() + (1 - p) * (1 - p).log())
