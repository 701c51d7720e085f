"""Everything that builds SEED's tokenizer; see `modalities.image.seed`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from unitok.strict import Strict

from ..common.quantize import Quantizer
from ..common.quantize.config import QuantizerConfig, VQConfig
from . import io
from .base import ImageConfig
from .vit1d import ViTSize


class VisionConfig(Strict):
    """The vision transformer whose features the Q-Former reads; the defaults are those of EVA-CLIP's ViT-g."""

    patch: int = Field(14, ge=1, description="side of a patch; divides size")
    width: int = Field(1408, ge=1)
    layers: int = Field(39, ge=1, description="blocks; the features come out before a last norm")
    heads: int = Field(16, ge=1)
    hidden: int = Field(6144, ge=1, description="inner width of the MLPs")
    folder: str | None = Field(
        None,
        description="instead: a local Hugging Face folder of CLIP or DINOv2, relative to the working folder",
    )


class CaptionConfig(Strict):
    """The reader of captions in training; ours, where the publication reads with the Q-Former's BERT."""

    buckets: int = Field(
        4096, ge=2, description="hashed words and character trigrams share so many embeddings"
    )
    words: int = Field(32, ge=1, description="of a caption; what is longer is cut")
    width: int = Field(128, ge=1)
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1, description="also of whole words")


class PainterConfig(Strict):
    """The small decoder to pixels; ours, where the publication has unCLIP."""

    patch: int = Field(8, ge=1, description="side of a patch; divides size")
    body: ViTSize = ViTSize(width=192, layers=3, heads=6)


class SeedConfig(ImageConfig):
    """Everything that builds the network; the defaults are those of the released file."""

    size: int = Field(224, ge=1, description="side of the pictures in pixels")
    tokens: int = Field(32, ge=1, description="queries, and codes of a picture")
    resize: io.Resize = "square"
    mean: tuple[float, float, float] = Field(
        (0.48145466, 0.4578275, 0.40821073), description="taken from pictures in [0, 1]"
    )
    std: tuple[float, float, float] = Field((0.26862954, 0.26130258, 0.27577711), description="divided by")
    vision: VisionConfig = VisionConfig()
    width: int = Field(768, ge=1, description="of the Q-Former and the blocks after the codes")
    layers: int = Field(12, ge=1, description="of the Q-Former")
    heads: int = Field(12, ge=1)
    hidden: int = Field(3072, ge=1, description="inner width of the Q-Former's MLPs")
    cross_every: int = Field(2, ge=1, description="every how many layers the queries look at the picture")
    quantizer: QuantizerConfig = VQConfig(codes=8192, dim=32, learn="gradient")
    legacy: bool = Field(
        False,
        description="as released: the commitment weight lies on the codebook's loss, not on the encoder's",
    )
    depth: int = Field(4, ge=1, description="blocks between the codes and each target")
    semantic: bool = Field(True, description="blocks that rebuild the Q-Former's tokens")
    branch: Literal["reverse", "mlp"] = Field(
        "mlp",
        description="to the embedding: a Q-Former with one query, or the MLP of the shipped program (image_down)",
    )
    down: tuple[int, int, int] = Field((256, 128, 32), description="mlp: widths of image_down")
    embedding: int = Field(1024, ge=1, description="width of the image embedding; unCLIP's has 1024")
    contrast: int = Field(256, ge=1, description="width of the vectors that pictures and captions share")
    captions: CaptionConfig | None = Field(
        None, description="the reader of captions; released files have none"
    )
    painter: PainterConfig | None = Field(None, description="the decoder to pixels; released files have none")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for patch, what in ((self.vision.patch, "vision"), (self.painter and self.painter.patch, "painter")):
            if patch and self.vision.folder is None and self.size % patch:
                raise ValueError(f"{what}.patch {patch} does not divide size {self.size}: give one that does")
        if self.legacy and getattr(self.quantizer, "learn", None) != "gradient":
            raise ValueError(
                "legacy weighs a codebook that is learnt by gradient: set quantizer.learn = 'gradient' or leave it out"
            )
        return self

    def build_quantizer(self) -> Quantizer:
        """The quantizer, with its two weights changed round if `legacy`."""
        config = self.quantizer
        if self.legacy and isinstance(config, VQConfig):
            config = config.model_copy(update={"commitment": config.pull, "pull": config.commitment})
        return config.build(self.tokens)


PRESETS = {
    "published": SeedConfig(),
    "published_reverse": SeedConfig(branch="reverse"),
    "small64": SeedConfig(
        size=64,
        resize="cover",
        vision=VisionConfig(patch=8, width=128, layers=4, heads=4, hidden=384),
        width=128,
        layers=4,
        heads=4,
        hidden=256,
        quantizer=VQConfig(codes=1024, dim=16),
        depth=2,
        down=(64, 32, 16),
        embedding=128,
        contrast=128,
        captions=CaptionConfig(layers=1),
        painter=PainterConfig(body=ViTSize(width=144, layers=3, heads=4)),
    ),
}
"""By name: both forms of the image branch, and a small one of ours that trains on a CPU."""
