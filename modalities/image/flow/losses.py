"""What FlowTok is trained for (arXiv:2503.10772, section 3.2): velocity, text latents' spread and alignment, captions.

    parts = flow_loss(net, states, latents, FlowLoss(), chance(len(latents), ...))

`loss = "paper"` and `"released"` differ in the divergence of text latents, in nats of a caption: the paper weighs its
mean over the batch by 1e-4, the released program its sum over the batch of a device by .01, so that it counts more the
more captions a device has. Both have (0.3 mean)^6 where the usual one has mean^2. Without a divergence that counts, text
latents shrink until nothing but the picture is left in what lies between, and the velocity is told by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from unitok.strict import Strict

from ...common.flow import between, logit_normal, velocity_target
from .words import counted

if TYPE_CHECKING:
    from .net import FlowNet

WEIGHTS = {"paper": (1e-4, 1.0), "released": (0.01, 1.0)}
"""Of the divergence and of the contrast."""


class FlowLoss(Strict):
    """The `[loss]` table."""

    loss: Literal["paper", "released"] = "paper"
    kl: float | None = Field(
        None, ge=0, description="weight of the divergence, if other than the named loss has"
    )
    contrast: float | None = Field(
        None, ge=0, description="weight of the alignment of text latents, if another"
    )
    null: float = Field(
        0.1, ge=0, lt=1, description="share of rows whose picture need not follow from the text"
    )
    write: float = Field(
        1.0, ge=0, description="ours: weight of the captions' cross-entropy, for nets that write"
    )
    joint: bool = Field(
        True, description="ours: text latents are shaped for writing, too; false: they are as given"
    )
    jitter: float = Field(0.1, ge=0, description="ours: noise on the text latents that are written from")

    @property
    def weights(self) -> tuple[float, float]:
        """Of the divergence and of the contrast."""
        kl, contrast = WEIGHTS[self.loss]
        return kl if self.kl is None else self.kl, contrast if self.contrast is None else self.contrast


class Chance(NamedTuple):
    """What is drawn for a batch: noise of the text latents [B, K, C], times [B], and which rows are null, bool [B]."""

    noise: Tensor
    times: Tensor
    null: Tensor


def chance(latents: Tensor, null: float, generator: Generator | None = None) -> Chance:
    """Draw for pictures' latents [B, K, C]; a single null row has nobody to swap pictures with, so it is none."""
    count, device = len(latents), latents.device
    noise = torch.randn(latents.shape, generator=generator, device=device)
    rows = torch.rand(count, generator=generator, device=device) < null
    return Chance(noise, logit_normal(count, generator=generator, device=device), rows & (rows.sum() > 1))


def flow_loss(
    net: FlowNet,
    text: Tensor,
    latents: Tensor,
    how: FlowLoss,
    drawn: Chance,
    ids: Tensor | None = None,
) -> dict[str, Tensor]:
    """The parts of the loss, each a scalar with its weight.

    Args:
        net: see `FlowNet`.
        text: states [B, K, W] or ids int64 [B, K] of the captions.
        latents: of the pictures, [B, K, C], times `scale`.
        how: the `[loss]` table.
        drawn: see `Chance`.
        ids: int64 [B, K], what the writer has to write.
    """
    kl, contrast = how.weights
    states = net.states(text)
    mean, log = net.posterior.moments(net.projector(states))
    start = mean + (0.5 * log).exp() * drawn.noise
    parts: dict[str, Tensor] = {}
    end = latents
    if drawn.null.any():  # a row that need not follow from its text gets the picture of another such row
        end = latents.clone()
        end[drawn.null] = latents[drawn.null].roll(-1, 0)
    least = net.config.least
    made = net.velocity(between(start, end, drawn.times, least), drawn.times, drawn.null)
    parts["flow"] = F.mse_loss(made, velocity_target(start, end, least))
    each = 0.5 * ((0.3 * mean) ** 6 + log.exp() - 1 - log)
    parts["kl"] = kl * each.sum() / (len(each) if how.loss == "paper" else 1)
    if contrast:
        parts["contrast"] = contrast * net.contrast(start, net.align(states))
    if how.write and net.writer is not None and ids is not None:
        latent = start if how.joint else start.detach()
        logits = net.writer(latent + how.jitter * torch.randn_like(latent))
        costs = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
        wanted = counted(ids, net.writer.nothing)
        parts["write"] = how.write * (costs * wanted).sum() / wanted.sum()
    return parts
