"""Adversarial training: a discriminator tells made from wanted pictures, and the tokenizer learns to fool it.

    Adversarial.generator(made, step)          the tokenizer's loss, gradient to `made` alone
    Adversarial.discriminate(made, wanted, step)   the discriminator's loss, gradient to its weights alone

Both may be summed into one backward pass. Hinge losses (Lim & Ye, arXiv:1705.02894); LeCam regularisation
(Tseng et al., arXiv:2104.03310) in TiTok's form, on the mean logits and their running means.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call

from .augment import Augment
from .discriminators import BlurredDiscriminator, PatchDiscriminator


def hinge_generator(made: Tensor) -> Tensor:
    """The tokenizer's loss: minus the mean logit of what it made."""
    return -made.mean()


def hinge_discriminator(made: Tensor, wanted: Tensor) -> Tensor:
    """The discriminator's loss: half of what logits of made ones lack to -1 and those of wanted ones to 1."""
    return 0.5 * (torch.relu(1 - wanted).mean() + torch.relu(1 + made).mean())


def build_discriminator(kind: Literal["titok", "patch"], width: int | None = None) -> nn.Module:
    """TiTok's discriminator or pix2pix's, of the published width or another.

    Raises:
        ValueError: another kind.
    """
    options = {} if width is None else {"width": width}
    if kind == "titok":
        return BlurredDiscriminator(**options)
    if kind == "patch":
        return PatchDiscriminator(**options)
    raise ValueError(f"no discriminator is called {kind!r}: use 'titok' or 'patch'")


class Adversarial(nn.Module):
    """A discriminator, its losses and its LeCam averages.

    Args:
        discriminator: pictures [B, 3, H, W] in [0, 1] -> logits.
        start: the step from which it takes part; both losses are 0 before.
        lecam: weight of the LeCam term; 0 leaves it out.
        decay: of LeCam's running means.
        augment: what both kinds of pictures go through before they are judged.
    """

    made_mean: Tensor
    wanted_mean: Tensor

    def __init__(
        self,
        discriminator: nn.Module,
        *,
        start: int = 0,
        lecam: float = 1e-3,
        decay: float = 0.999,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.start, self.lecam, self.decay, self.augment = start, lecam, decay, augment
        self.register_buffer("made_mean", torch.zeros(()))
        self.register_buffer("wanted_mean", torch.zeros(()))

    def generator(self, made: Tensor, step: int) -> Tensor:
        """The tokenizer's loss on made pictures [B, 3, H, W]; the discriminator stays as it is."""
        if step < self.start:
            return made.new_zeros(())
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        # copies, so that batch norm's running means do not see the same pictures twice
        frozen |= {name: buffer.clone() for name, buffer in self.discriminator.named_buffers()}
        logits: Tensor = functional_call(self.discriminator, frozen, (self._seen(made),))
        return hinge_generator(logits)

    def discriminate(self, made: Tensor, wanted: Tensor, step: int) -> Tensor:
        """The discriminator's loss on made and wanted pictures [B, 3, H, W], LeCam's share included."""
        if step < self.start:
            return made.new_zeros(())
        real = self.discriminator(self._seen(wanted.detach()))
        fake = self.discriminator(self._seen(made.detach()))
        loss = hinge_discriminator(fake, real)
        if self.lecam:
            loss = loss + self.lecam * self._lecam(fake.mean(), real.mean())
        return loss

    def _seen(self, pictures: Tensor) -> Tensor:
        return pictures if self.augment is None else self.augment(pictures)

    def _lecam(self, made: Tensor, wanted: Tensor) -> Tensor:
        """LeCam's term for the mean logits of this step, against the means of the steps before."""
        term = (
            torch.relu(wanted - self.made_mean).square() + torch.relu(self.wanted_mean - made).square()
        )  # taken before the means move
        if self.training:
            means = torch.stack([made.detach(), wanted.detach()]).to(self.made_mean.dtype)
            if dist.is_initialized() and dist.get_world_size() > 1:
                dist.all_reduce(means)  # every rank keeps the same means
                means = means / dist.get_world_size()
            self.made_mean = self.made_mean.lerp(means[0], 1 - self.decay)
            self.wanted_mean = self.wanted_mean.lerp(means[1], 1 - self.decay)
        return term
