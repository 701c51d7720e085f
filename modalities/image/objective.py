"""What a picture tokenizer is trained for: the `[loss]` table, and the sum that it describes.

    [loss]
    l2 = 1.0
    perceptual = { weight = 1.0, parts = { lpips = 1.0, "convnext-s" = 0.1 }, folder = "backbones" }
    gan = { weight = 0.1, discriminator = "titok", start = 20000 }     # every loss may start, ramp up and stop
    proxy = { weight = 1.0, vqgan = "maskgit-vqgan.bin" }
    semantic = { weight = 0.5, encoder = "dinov2-base" }
    flow = 1.0                                                         # of decoders that follow a velocity

A plain number is a weight. Paths start at the TOML file. The quantizer's own losses are always part of the
sum, under the weights of its table. The tokenizer's losses go through a discriminator that counts as
constant, the discriminator's through pictures that count as constant, so that both learn in one backward
pass of one optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator
from torch import Tensor, nn

from unitok.strict import Strict

from ..common.losses import Adversarial, Augment, build_discriminator, l1, l2, proxy_cross_entropy, smooth_l1
from ..common.losses.perceptual import Perceptual
from ..common.losses.semantic import EncoderFeatures, semantic_loss
from .base import Reconstruction
from .proxy import Proxy

PIXEL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "l2": l2, "smooth_l1": smooth_l1}


class Term(Strict):
    """One loss: its weight, and when it counts."""

    weight: float = Field(1.0, ge=0)
    start: int = Field(0, ge=0, description="first step")
    stop: int | None = Field(None, ge=0, description="first step without it again")
    ramp: int = Field(0, ge=0, description="steps over which the weight rises from zero")

    def at(self, step: int) -> float:
        """The weight at a step."""
        if step < self.start or (self.stop is not None and step >= self.stop):
            return 0.0
        return self.weight * min(1.0, (step - self.start + 1) / self.ramp) if self.ramp else self.weight


class PerceptualTerm(Term):
    """Pictures that look alike."""

    parts: dict[str, float] = Field({"lpips": 1.0}, description="measures and their shares")
    folder: str | None = Field(None, description="released backbones; without them a named substitute")


class GanTerm(Term):
    """Pictures that a discriminator takes for real."""

    discriminator: Literal["titok", "patch"] = "titok"
    width: int | None = Field(None, description="channels of its first layer, if not the published ones")
    lecam: float = Field(1e-3, ge=0, description="LeCam regularisation")
    lr: float = Field(1.0, gt=0, description="learning rate of the discriminator as a share of train.lr")
    augment: bool = Field(False, description="differentiable augmentation before it judges")


class ProxyTerm(Term):
    """Codes of a VQGAN at first, instead of pixels."""

    vqgan: str = Field(description="the released MaskGIT-VQGAN")


class SemanticTerm(Term):
    """Features like those of a frozen encoder."""

    encoder: str = Field(description="local Hugging Face folder of DINOv2 or CLIP")
    size: int = Field(224, description="side at which the encoder sees the pictures")


class LossConfig(Strict):
    """The `[loss]` table."""

    l1: Term | None = None
    l2: Term | None = Term()
    smooth_l1: Term | None = None
    perceptual: PerceptualTerm | None = None
    gan: GanTerm | None = None
    proxy: ProxyTerm | None = None
    semantic: SemanticTerm | None = None
    flow: Term | None = None

    @field_validator("l1", "l2", "smooth_l1", "perceptual", "gan", "flow", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """A plain number is a weight; 0 leaves the loss out."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"weight": float(value)} if value else None
        return value

    @property
    def paints(self) -> bool:
        """Whether any loss looks at pictures."""
        return any((self.l1, self.l2, self.smooth_l1, self.perceptual, self.gan))


class Objective(nn.Module):
    """The losses of a reconstruction, by name and already weighted.

    Args:
        config: the table.
        root: folder from which its paths start.
    """

    def __init__(self, config: LossConfig, root: Path) -> None:
        super().__init__()
        self.config = config
        frozen: dict[str, nn.Module] = {}  # not registered: they neither train nor belong into checkpoints
        if config.perceptual is not None:
            folder = None if config.perceptual.folder is None else root / config.perceptual.folder
            frozen["perceptual"] = Perceptual(config.perceptual.parts, folder)
        if config.proxy is not None:
            frozen["proxy"] = Proxy.open(root / config.proxy.vqgan)
        if config.semantic is not None:
            frozen["semantic"] = EncoderFeatures(root / config.semantic.encoder, config.semantic.size)
        self._frozen = {name: (module.eval().requires_grad_(False),) for name, module in frozen.items()}
        self.gan: Adversarial | None = None
        if config.gan is not None:
            g = config.gan
            self.gan = Adversarial(
                build_discriminator(g.discriminator, g.width),
                start=g.start,
                lecam=g.lecam,
                augment=Augment() if g.augment else None,
            )

    def forward(
        self, made: Reconstruction, wanted: Tensor, step: int, given: Tensor | None = None
    ) -> dict[str, Tensor]:
        """All losses of pictures [B, 3, H, W] in [0, 1] that count at a step; those of `made` are in [0, 1], too.

        `given` [B', 3, S, S] is what the network saw, where that is not what it should make: features follow those of
        `given`; and losses of how pictures look need whole pictures, so they do not count where smaller ones are made.

        Raises:
            ValueError: none counts, or one needs a feature that the network does not give.
        """
        c, found = self.config, dict(made.quantized.losses)
        own = len(found)
        for name, loss in PIXEL.items():
            term = getattr(c, name)
            if term is not None and term.at(step):
                found[name] = term.at(step) * loss(made.pictures, wanted)
        given = wanted if given is None else given
        whole = wanted.shape[2:] == given.shape[2:]
        if c.perceptual is not None and c.perceptual.at(step) and whole:
            found["perceptual"] = c.perceptual.at(step) * self._use("perceptual", wanted)(
                made.pictures, wanted
            )
        if c.proxy is not None and c.proxy.at(step):
            codes = self._use("proxy", wanted)(wanted)
            found["proxy"] = c.proxy.at(step) * proxy_cross_entropy(
                self._feature(made, "proxy_logits"), codes
            )
        if c.semantic is not None and c.semantic.at(step):
            target = self._use("semantic", given)(given)
            found["semantic"] = c.semantic.at(step) * semantic_loss(self._feature(made, "semantic"), target)
        if c.flow is not None and c.flow.at(step):
            velocity = self._feature(made, "velocity")
            found["flow"] = c.flow.at(step) * l2(velocity.float(), self._feature(made, "velocity_target"))
        if self.gan is not None and c.gan is not None and c.gan.at(step) and whole:
            found["gan"] = c.gan.at(step) * self.gan.generator(made.pictures, step)
            found["discriminator"] = self.gan.discriminate(made.pictures, wanted, step)
        if len(found) == own:
            raise ValueError(f"[loss] asks nothing of the network at step {step}: let a loss start earlier")
        return found

    @property
    def vqgan(self) -> Proxy | None:
        """Where proxy codes come from, if they are asked for."""
        found = self._frozen.get("proxy", (None,))[0]
        return found if isinstance(found, Proxy) else None

    def _use(self, name: str, like: Tensor) -> nn.Module:
        """A frozen network, on the device of the pictures."""
        (module,) = self._frozen[name]
        return module.to(like.device)

    def _feature(self, made: Reconstruction, name: str) -> Tensor:
        if name not in made.features:
            has = ", ".join(made.features) or "none"
            raise ValueError(
                f"this network gives no {name!r} (features: {has}): leave the loss out that needs it"
            )
        return made.features[name]

    def parameter_groups(self, lr: float) -> list[Mapping[str, Any]]:
        """The discriminator's parameters at their own rate, without decay: before its start it must not shrink."""
        if self.gan is None or self.config.gan is None:
            return []
        return [{"params": list(self.gan.parameters()), "lr": lr * self.config.gan.lr, "weight_decay": 0.0}]
