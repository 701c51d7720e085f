"""Settings of the point tokenizer: front end, latents, quantizer, decoder, linear path; the presets; the loss."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from unitok.strict import Strict

from ..common.quantize.config import FSQConfig, QuantizerConfig
from .any2point.config import Kind, SourceShape


class TokenizerConfig(Strict):
    """Everything that builds the network. The defaults are what the weights `furniture` have; see `PRESETS`."""

    inputs: int = Field(512, ge=1, description="points of a cloud that the encoder sees")
    points: int = Field(1024, description="points of a decoded cloud")
    anchors: int = Field(256, description="linear path: sphere points whose transport maps are encoded")
    stages: tuple[tuple[int, tuple[int, ...]], ...] = Field(
        ((3, (240,)), (24, (16, 15)), (8, (8, 6, 5)), (29, (5, 4, 4, 3))),
        description="without a quantizer: (how many tokens, FSQ levels of each of their channels), in order",
    )
    width: int = 96
    heads: int = 4
    encoder_layers: int = Field(2, ge=1)
    decoder_layers: int = Field(3, ge=1)
    patches: int = Field(32, description="front `patches`: patches that the encoder makes")
    neighbours: int = Field(16, description="points of such a patch, or of Point-PN's neighbourhoods")
    bands: int = Field(8, description="linear path: bands of the sphere, each cut into as many patches")
    front: Literal["patches", "point-pn", "any2point"] = Field(
        "patches", description="small PointNet, Point-PN, or Point-PN and a frozen transformer with adapters"
    )
    groups: int = Field(128, ge=1, description="Point-PN: centres, each a token")
    front_width: int = Field(384, ge=48, description="Point-PN: channels, a multiple of 48")
    source: Kind = Field("language", description="any2point: kind of the frozen transformer")
    source_shape: SourceShape | None = Field(None, description="any2point: its shape; None: as published")
    quantizer: QuantizerConfig | None = Field(None, description="vq, fsq or binary, one for all latents")
    latents: int = Field(64, ge=1, description="with a quantizer: how many codes")
    linear: bool = Field(True, description="the linear path; its values go through FSQ alone")
    queries: int = Field(128, ge=1, description="without the linear path: patches of the decoder")
    reach: float = Field(0.3, gt=0, description="without the linear path: how far points lie from anchors")
    rgb: bool = Field(False, description="red, green and blue in [0, 1] stand beside x, y, z")

    @model_validator(mode="after")
    def _fits(self) -> TokenizerConfig:
        fsq = isinstance(self.quantizer, FSQConfig) and self.quantizer.form == "symmetric"
        if self.quantizer is not None and self.quantizer.kind == "kl":
            raise ValueError("quantizer kind 'kl' has no codes: use fsq, vq or binary")
        if self.linear and self.quantizer is not None and not fsq:
            raise ValueError(
                "the linear path's values go through a symmetric fsq: say linear = false, or take one"
            )
        if not self.linear and self.points % self.queries:
            raise ValueError(f"points = {self.points} must be a multiple of queries = {self.queries}")
        if self.front != "patches" and self.inputs < 4 * self.groups:
            raise ValueError(
                f"inputs = {self.inputs}: Point-PN makes {self.groups} groups of at least {4 * self.groups} points"
            )
        return self

    @property
    def levels(self) -> list[tuple[int, ...]]:
        """FSQ levels for each of the K tokens; of other quantizers there are none."""
        if self.quantizer is None:
            return [levels for count, levels in self.stages for _ in range(count)]
        return [self.quantizer.levels] * self.latents if isinstance(self.quantizer, FSQConfig) else []

    @property
    def tokens(self) -> int:
        """How many codes a whole cloud has: K."""
        return self.latents if self.quantizer else sum(count for count, _ in self.stages)

    def told(self) -> dict[str, Any]:
        """What fingerprints hash: options that came after the first weights count only where they are used."""
        kept = self.model_dump(mode="json")
        return {k: v for k, v in kept.items() if k in FIRST or v != type(self).model_fields[k].get_default()}

    @classmethod
    def preset(cls, name: str) -> TokenizerConfig:
        """The configuration called `name`.

        Raises:
            ValueError: none is called so.
        """
        if name not in PRESETS:
            raise ValueError(f"no point tokenizer is called {name!r}: there are {', '.join(PRESETS)}")
        return cls(**PRESETS[name])


FIRST = frozenset(
    {
        "inputs", "points", "anchors", "stages", "width", "heads", "encoder_layers", "decoder_layers", "patches",
        "neighbours", "bands",
    }
)  # fmt: skip
"""Options that the first weights knew."""

PC64: dict[str, Any] = {
    "inputs": 1024, "points": 2048, "front": "point-pn", "linear": False, "latents": 64, "groups": 128, "queries": 128,
    "quantizer": {"kind": "fsq", "levels": (8, 8, 8, 5, 5)}, "encoder_layers": 4, "decoder_layers": 6,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "cloud": {},
    "small": {**PC64, "width": 192, "heads": 6, "front_width": 384, "neighbours": 32},
    "base": {**PC64, "width": 384, "heads": 6, "front_width": 768, "neighbours": 64},
}
"""`cloud` is what ships as `furniture`: 64 codes of 240. The others have 64 codes of 12,800 and 2,048 points."""


class LossConfig(Strict):
    """What is asked of the network: the `[loss]` table. CD1, the first term, has weight 1."""

    squared: float = Field(0.0, ge=0, description="weight of CD2, the squared distances")
    anchors: float = Field(0.0, ge=0, description="weight of the anchors' CD1 to farthest points")
    labels: float = Field(0.0, ge=0, description="weight of telling the class from the mean of the codes")
    colours: float = Field(1.0, ge=0, description="rgb: weight of the squared error of matched points")
