"""Quantizers as a table of a configuration: `quantizer = { kind = "vq", codes = 4096, dim = 12, l2 = true }`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unitok.strict import Strict

from .base import Quantizer
from .binary import Binary
from .fsq import FSQ
from .kl import KL
from .vq import VQ


class VQConfig(Strict):
    """Fields of `VQ`."""

    kind: Literal["vq"] = "vq"
    codes: int = Field(1024, ge=2, description="size of the codebook")
    dim: int = Field(8, ge=1, description="channels of a code")
    own: bool = Field(False, description="a codebook of its own for each token (a product code)")
    l2: bool = Field(False, description="compare on the unit sphere")
    learn: Literal["ema", "gradient"] = Field("ema", description="running averages, or a trained codebook")
    commitment: float = Field(0.25, ge=0, description="pull of latents to codes")
    pull: float = Field(1.0, ge=0, description="gradient: pull of codes to latents")
    rotation: bool = Field(False, description="the rotation trick instead of straight-through gradients")
    entropy: float = Field(0.0, ge=0, description="weight of the entropy loss")
    softness: float = Field(0.01, gt=0, description="temperature of its soft assignments")
    decay: float = Field(0.99, gt=0, lt=1, description="ema: of the running averages")
    rate: float = Field(0.0, ge=0, description="ema: price of a nat, in squared latent distance")
    revive_below: float = Field(
        0.02, ge=0, description="ema: share of a fair use under which a code is moved"
    )
    cvq: bool = Field(False, description="gradient: move little-used codes to the nearest latents")

    def build(self, tokens: int) -> Quantizer:
        """The quantizer for latents of `tokens` positions."""
        options = self.model_dump(exclude={"kind", "codes", "own", "dim"})
        return VQ(self.codes, self.dim, books=tokens if self.own else 1, **options)


class FSQConfig(Strict):
    """Fields of `FSQ`."""

    kind: Literal["fsq"] = "fsq"
    levels: tuple[int, ...] = Field((8, 6, 5), description="levels of each channel")
    form: Literal["symmetric", "published"] = "symmetric"
    unrounded: float = Field(0.0, ge=0, le=1, description="share of items that training leaves unrounded")
    corrupt: float = Field(0.0, ge=0, le=1, description="share of codes that training replaces at random")

    def build(self, tokens: int) -> Quantizer:
        """The quantizer; the same for any number of tokens."""
        return FSQ(self.levels, self.form, unrounded=self.unrounded, corrupt=self.corrupt)


class BinaryConfig(Strict):
    """Fields of `Binary`."""

    kind: Literal["binary"] = "binary"
    bits: int = Field(8, ge=1, description="bits of a token; over 8 they become parts of 8")
    form: Literal["sign", "sphere", "bernoulli"] = "sign"
    entropy: float = Field(0.0, ge=0, description="sign, sphere: weight of the entropy loss")
    evenness: float = Field(1.0, ge=0, description="share of its term that wants all bits even")
    commitment: float = Field(0.0, ge=0, description="sign, sphere: pull of latents to their values")
    confidence: float = Field(0.0, ge=0, description="bernoulli: weight of mean p (1 - p)")
    temperature: float = Field(0.1, gt=0, description="bernoulli: of the draws in training")
    softness: float = Field(0.01, gt=0, description="temperature of the soft bits in the entropy loss")

    def build(self, tokens: int) -> Quantizer:
        """The quantizer; the same for any number of tokens."""
        return Binary(self.bits, **self.model_dump(exclude={"kind", "bits"}))


class KLConfig(Strict):
    """Fields of `KL`."""

    kind: Literal["kl"] = "kl"
    dim: int = Field(16, ge=1, description="channels of a latent")
    weight: float = Field(1e-6, ge=0, description="of the divergence from the standard normal")
    form: Literal["normal", "flowtok"] = "normal"
    sample: bool = Field(False, description="draw in evaluation, too")

    def build(self, tokens: int) -> Quantizer:
        """The bottleneck; the same for any number of tokens."""
        return KL(self.dim, **self.model_dump(exclude={"kind", "dim"}))


QuantizerConfig = Annotated[VQConfig | FSQConfig | BinaryConfig | KLConfig, Field(discriminator="kind")]
