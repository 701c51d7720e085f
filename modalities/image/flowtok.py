"""`image.flowtok`: FlowTok's tokenizer, a picture as a few continuous latents, for its flow from captions.

FlowTok (He et al., arXiv:2503.10772, section 3.1): TA-TiTok's network with rotary positions and gated MLPs, 77
latents of 16 numbers each, as many as CLIP has states of a caption. There are no codes, so it enters no vocabulary:
`latents()` and `decode_tensor(latents, text=...)` are what it is for, and `modalities.image.flow` draws and
describes pictures by it. The published tokenizer decodes with the states of the caption, ours for 64 pixels without.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from ..common.checkpoint import Checkpoint
from ..common.quantize.config import KLConfig
from ..common.weights import WeightsMismatch
from .titok import TiTok, TiTokConfig
from .titok import released as titok_released
from .vit1d import SIZES, ViTSize


class FlowTokConfig(TiTokConfig):
    """Everything that builds the network; the defaults are the small preset for 64 pixels."""

    size: int = Field(64, ge=1, description="side of the pictures in pixels")
    patch: int = Field(8, ge=1, description="side of a patch; divides size")
    encoder: ViTSize = ViTSize(width=128, layers=2, heads=4)
    decoder: ViTSize = ViTSize(width=128, layers=3, heads=4)
    cls: bool = False
    place: Any = "rope"
    mlp: Any = "swiglu"
    quantizer: KLConfig = KLConfig(dim=8)

    @classmethod
    def variant(cls, name: str) -> FlowTokConfig:
        """bl77_256 or bl77_512 as published, or small64 of ours.

        Raises:
            ValueError: none is called so.
        """
        if name == "small64":
            return cls(head="pixel", shift=0.5, linear="pca", components=256)
        sizes = {"bl77_256": 256, "bl77_512": 512}
        if name not in sizes:
            raise ValueError(
                f"no FlowTok tokenizer is called {name!r}: there are small64, {', '.join(sizes)}"
            )
        return cls(
            size=sizes[name],
            patch=16,
            tokens=77,
            encoder=SIZES["base"],
            decoder=SIZES["large"],
            text=77,
            start="published",
            quantizer=KLConfig(dim=16),
        )


def released(checkpoint: Checkpoint) -> tuple[FlowTokConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of a released tokenizer of FlowTok, known by its shapes.

    Raises:
        WeightsMismatch: weights with a codebook, which are TiTok's.
    """
    config, state = titok_released(checkpoint)
    if not isinstance(config.quantizer, KLConfig):
        raise WeightsMismatch(
            f"{checkpoint.source} has a codebook, and FlowTok's latents are continuous: open it as image.titok"
        )
    return FlowTokConfig(**config.model_dump()), state


class FlowTok(TiTok):
    """Pictures through FlowTok's tokenizer; options as those of `TiTok`, with `text` where weights take captions."""

    tokenizer = "image.flowtok"
    Config = FlowTokConfig
    default = None
    released = staticmethod(released)

    @classmethod
    def preset(cls, name: str) -> FlowTokConfig:
        """bl77_256, bl77_512 or small64."""
        return FlowTokConfig.variant(name)
