"""Contrast of pairs: each vector must find its partner among all partners of the batch, in both directions.

The symmetric cross-entropy of CLIP (Radford et al., arXiv:2103.00020) with its learned temperature. FlowTok
aligns text latents with it (arXiv:2503.10772, section 3). On several ranks the batch is that of all ranks.
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn import functional as ranks
from torch.nn import functional as F


class Contrast(nn.Module):
    """Symmetric cross-entropy between the vectors of pairs.

    Args:
        temperature: where the learned temperature starts.
        most: largest factor (one over the temperature) that logits are multiplied with.
        smoothing: share of each target that is spread over all partners (label smoothing).
    """

    def __init__(self, temperature: float = 0.07, most: float = 100.0, smoothing: float = 0.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # DeepSpeed sends no scalars
        self.most, self.smoothing = most, smoothing

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        """The loss in nats of B pairs: one and two are [B, ...] of equal shape, flattened and normalised here.

        Raises:
            ValueError: the two differ in shape.
        """
        if one.shape != two.shape or one.dim() < 2:
            raise ValueError(
                f"pairs of {list(one.shape)} and {list(two.shape)}: both sides need one shape [B, ...]"
            )
        one, two = (F.normalize(each.flatten(1).float(), dim=-1) for each in (one, two))
        over = (self.log_scale - math.log(self.most)).clamp(min=0).detach()
        scale = (self.log_scale - over).exp()  # clamped in value alone: the gradient can still lower it
        all_one, all_two, first = one, two, 0
        if dist.is_initialized() and dist.get_world_size() > 1:
            # gathered with gradient: averaged over ranks, it is that of the whole batch in one process
            all_one, all_two = (torch.cat(ranks.all_gather(each)) for each in (one, two))
            first = dist.get_rank() * len(one)
        partner = torch.arange(first, first + len(one), device=one.device)
        there = F.cross_entropy(scale * one @ all_two.t(), partner, label_smoothing=self.smoothing)
        back = F.cross_entropy(scale * two @ all_one.t(), partner, label_smoothing=self.smoothing)
        return (there + back) / 2
