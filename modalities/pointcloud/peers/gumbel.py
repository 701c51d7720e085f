"""Gumbel-softmax codes: Jang et al., arXiv:1611.01144; the bottleneck of Point-BERT's dVAE (Yu et al., arXiv:2111.14819)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...common.quantize import Quantized, Quantizer


class Gumbel(Quantizer):
    """Logits [B, K, size] to codes: a soft draw from the codebook in training, the likeliest code otherwise.

    `temperature` (of the draw) and `weight` (of the divergence) are set from outside, by the step. The divergence is that
    of the batch's mean distribution from the uniform one, in nats: it keeps the codes in use.

    Args:
        size: codes.
        dim: channels of a code.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size, self.dim = size, dim
        self.codebook = nn.Parameter(torch.randn(size, dim))
        self.temperature, self.weight = 1.0, 0.0

    @property
    def inputs(self) -> int:
        """One logit for each code."""
        return self.size

    def forward(self, z: Tensor) -> Quantized:
        """Choose codes by logits z [B, K, size]."""
        ids = z.argmax(-1)
        if not self.training:
            return Quantized(self.lookup(ids), ids, {})
        # with an exponential e, -log e is Gumbel noise; one draw in place costs less than F.gumbel_softmax
        noise = torch.empty_like(z).exponential_().log_()
        soft = F.softmax((z - noise) / self.temperature, -1)
        losses = {}
        if self.weight:
            used = F.softmax(z, -1).mean((0, 1))
            entropy = -(used * used.clamp(min=torch.finfo(used.dtype).tiny).log()).sum()
            losses["uniform"] = self.weight * (math.log(self.size) - entropy)
        return Quantized(soft @ self.codebook, ids, losses)

    def lookup(self, ids: Tensor) -> Tensor:
        """Rows of the codebook [B, K, D] of codes [B, K]."""
        return self.codebook[ids]

    def inverse(self, ids: Tensor) -> Tensor:
        """Logits [B, K, size] that choose these codes."""
        return F.one_hot(ids, self.size).to(self.codebook.dtype)

    def margin(self, z: Tensor) -> Tensor:
        """How far the likeliest logit is above the next one: [B, K]."""
        most = z.topk(2, -1).values
        return most[..., 0] - most[..., 1]
