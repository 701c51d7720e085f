"""KL: no codes at all, but a Gaussian posterior whose mean is the latent (Kingma and Welling, arXiv:1312.6114)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .base import Quantized, Quantizer

CLAMP = (-30.0, 20.0)
Form = Literal["normal", "flowtok"]


class KL(Quantizer):
    """z [B, K, 2 D] holds means and log-variances; z_q [B, K, D] is a sample in training, else the mean.

    Args:
        dim: D.
        weight: of the divergence from the standard normal, summed over K and D and averaged over the batch
            (TiTok's VAEs: 1e-6).
        form: "normal", or FlowTok's for text (arXiv:2503.10772): (0.3 mean)^6 in place of mean^2, which
            leaves means of up to about 3 free, and averaged over K and D, too.
        sample: draw in evaluation mode, too.
    """

    def __init__(
        self, dim: int, *, weight: float = 1e-6, form: Form = "normal", sample: bool = False
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"KL of {dim} channels: need at least 1")
        self.dim, self.size, self.weight, self.form, self.sample = dim, 0, weight, form, sample

    @property
    def inputs(self) -> int:
        """2 D: mean and log-variance."""
        return 2 * self.dim

    def forward(self, z: Tensor) -> Quantized:
        """Sample or take the mean of z [B, K, 2 D]; there are no ids."""
        mean, log = self.posterior(z)
        z_q = mean
        if self.training or self.sample:
            z_q = mean + (0.5 * log).exp() * torch.randn_like(mean)
        far = mean.square() if self.form == "normal" else (0.3 * mean) ** 6
        each = 0.5 * (far + log.exp() - 1 - log).flatten(1)  # [B, K * D]
        loss = each.sum(1).mean() if self.form == "normal" else each.mean()
        return Quantized(z_q.to(z.dtype), None, {"kl": self.weight * loss})

    def posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and clamped log-variance, each [B, K, D]."""
        return self.moments(z)

    @staticmethod
    def moments(z: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """The same of z with means and log-variances along any axis."""
        mean, log = z.float().chunk(2, dim=dim)
        return mean, log.clamp(*CLAMP)

    def lookup(self, ids: Tensor) -> Tensor:
        """Not to be had.

        Raises:
            TypeError: always.
        """
        raise TypeError("KL latents are continuous and have no codes: decode the latents themselves")

    def margin(self, z: Tensor) -> Tensor:
        """Infinite: there is no other code to be near to."""
        return z.new_full(z.shape[:2], torch.inf)
