"""Everything that builds FlexTok, and how its flow is sampled; see `modalities.image.flextok`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unitok.budget import Kind
from unitok.strict import Strict

from ..common.quantize.config import FSQConfig, QuantizerConfig
from . import io
from .base import ImageConfig
from .vae import ConvVAEConfig, LinearVAEConfig, VAEConfig
from .vit1d import ViTSize


class Sampling(Strict):
    """How the decoder's flow is followed from noise to a picture. It changes no code."""

    steps: int = Field(25, ge=1, description="Euler steps")
    scale: float = Field(7.5, ge=0, description="guidance by the codes; 1 is none, and costs half")
    projected: bool = Field(True, description="adaptive projected guidance, not the plain kind")


class FlexTokConfig(ImageConfig):
    """Everything that builds the network; the defaults are d12_d12."""

    size: int = Field(256, ge=1, description="side of the pictures in pixels")
    tokens: int = Field(256, ge=1, description="registers, of which any first ones are a picture")
    range: tuple[float, float] = (-1.0, 1.0)
    resize: io.Resize = "bilinear"
    vae: VAEConfig = ConvVAEConfig()
    patch: int = Field(2, ge=1, description="side of a patch of latents")
    encoder: ViTSize = ViTSize(width=768, layers=12, heads=12)
    decoder: ViTSize = ViTSize(width=768, layers=12, heads=12)
    quantizer: QuantizerConfig = FSQConfig(levels=(8, 8, 8, 5, 5, 5), form="published")
    modulated_head: bool = Field(True, description="whether time shifts and scales the last layer, too")
    scaling_factor: float = Field(1.0, gt=0, description="what the VAE's latents are multiplied by")
    max_timestep: float = Field(1.0, gt=0, description="what time 1 counts as in the files' time embedding")
    posterior: Literal["mean", "sample"] = Field(
        "mean", description="the VAE's latent; a sample is drawn with the same noise for every picture"
    )
    nested: Kind = Field("uniform", description="training: how the number of kept registers is drawn")
    full: float = Field(0.0, ge=0, le=1, description="training: share of the pictures that keep all of them")
    null: float = Field(0.2, ge=0, lt=1, description="training: share that keep none, for guidance")
    stratified: bool = Field(False, description="training: times spread evenly over a batch")
    semantic: int = Field(
        0, ge=0, description="width of the features to align with (REPA), 1024 for DINOv2-L; 0: none"
    )
    layer: int = Field(2, ge=1, description="decoder layer whose patches are aligned with them")
    linear: Literal["pca"] | None = Field(
        None, description="the linear path (modalities.image.flextok_linear); FlexTok as published has none"
    )
    components: int = Field(96, ge=1, description="linear path: principal components")
    reduced: int = Field(32, ge=1, description="linear path: side of the reduced picture; divides size")
    sampling: Sampling = Sampling()

    @property
    def lengths(self) -> tuple[int, ...]:
        """Any number of codes."""
        return tuple(range(1, self.tokens + 1))

    @property
    def side(self) -> int:
        """Patches in a row."""
        return self.size // (self.vae.factor * self.patch)


PRESETS: dict[str, FlexTokConfig] = {
    "d12_d12": FlexTokConfig(),
    "d18_d18": FlexTokConfig(
        encoder=ViTSize(width=1152, layers=18, heads=18), decoder=ViTSize(width=1152, layers=18, heads=18)
    ),
    "d18_d28": FlexTokConfig(
        encoder=ViTSize(width=1152, layers=18, heads=18), decoder=ViTSize(width=1792, layers=28, heads=28)
    ),
    "small64": FlexTokConfig(
        size=64,
        tokens=32,
        range=(0.0, 1.0),
        resize="cover",
        vae=LinearVAEConfig(patch=8, latents=16),
        patch=1,
        encoder=ViTSize(width=128, layers=3, heads=4),
        decoder=ViTSize(width=128, layers=5, heads=4),
        quantizer=FSQConfig(levels=(8, 6, 5), form="published"),
        nested="uniform_pow2",
        null=0.1,
        sampling=Sampling(steps=8, scale=1.0, projected=False),
    ),
}
"""The published shapes (flextok_d18_d28_dfn is a d18_d28), and one of ours to train on small machines."""
