"""Everything that builds DetailFlow; see `modalities.image.detailflow`."""

from __future__ import annotations

from pydantic import Field, model_validator

from ..common.quantize.config import QuantizerConfig, VQConfig
from . import io
from .base import ImageConfig
from .detail import Detail
from .vit1d import ViTSize


class DetailFlowConfig(ImageConfig):
    """Everything that builds the network; the defaults are the published one of 128 codes."""

    size: int = Field(256, ge=1, description="side of the pictures in pixels, a multiple of patch")
    tokens: int = Field(128, ge=1, description="codes of a whole picture, a multiple of group")
    range: tuple[float, float] = (-1.0, 1.0)
    resize: io.Resize = "halve"
    patch: int = Field(16, ge=1, description="side of a patch; smaller pictures are multiples of it")
    group: int = Field(8, ge=1, description="codes of a group, which a generator writes together")
    power: float = Field(1.5, gt=0, description="of the law by which resolution rises with the codes")
    encoder: ViTSize = ViTSize(width=1152, layers=12, heads=16)
    decoder: ViTSize = ViTSize(width=768, layers=12, heads=12)
    hidden: int = Field(4304, ge=0, description="inner width of the encoder's MLPs; 0: four times the width")
    quantizer: QuantizerConfig = VQConfig(codes=8192, dim=8, l2=True, learn="gradient")
    degraded: float = Field(
        0.2, ge=0, le=1, description="training: share of steps that decode some codes alone"
    )
    corrected: bool = Field(
        True, description="training: also from codes with a wrong piece, corrected after it"
    )
    nearest: int = Field(50, ge=2, description="training: wrong codes are among so many nearest ones")
    semantic: int = Field(
        0,
        ge=0,
        description="width of the features that the first code is to tell (1152 for SigLIP 2); 0: none",
    )
    start: float = Field(
        0.02, gt=0, description="spread of learned tokens at the start; wide ones (0.5) drown the picture"
    )

    @property
    def detail(self) -> Detail:
        """The resolution map."""
        return Detail(self.size, self.tokens, self.group, self.patch, self.power)

    @property
    def lengths(self) -> tuple[int, ...]:
        """1 to `group`, then whole groups."""
        return self.detail.lengths

    @model_validator(mode="after")
    def _whole(self) -> DetailFlowConfig:
        for name, part, whole in (("group", self.group, self.tokens), ("patch", self.patch, self.size)):
            if whole % part:
                raise ValueError(f"{name} {part} does not divide {whole}: choose one that does")
        if self.corrected and (not isinstance(self.quantizer, VQConfig) or self.quantizer.own):
            raise ValueError(
                "corrected = true needs one codebook for all codes: quantizer.kind = 'vq', own = false"
            )
        return self


PRESETS: dict[str, DetailFlowConfig] = {
    "128": DetailFlowConfig(),
    "256": DetailFlowConfig(tokens=256),
    "512": DetailFlowConfig(tokens=512),
    "small64": DetailFlowConfig(
        size=64,
        tokens=32,
        resize="cover",
        patch=8,
        encoder=ViTSize(width=128, layers=3, heads=4),
        decoder=ViTSize(width=128, layers=4, heads=4),
        hidden=0,
        quantizer=VQConfig(codes=1024, dim=8, l2=True, learn="gradient", rotation=True, entropy=0.005),
    ),
}
"""The published shapes (DetailFlow-16, -32 and -64), and one of ours to train on small machines."""
