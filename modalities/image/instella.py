"""`image.instella`: a picture of any size as 128 vectors of 64 bits (see `modalities.image.instella_net`).

Instella-T2I, arXiv:2506.21022. The codes of a picture are int64 [128, 8]: part p of a position holds its bits
8 p .. 8 p + 7, the least significant first. `scale` spreads the positions of any size over the same range, as
the released generators expect (1024); it changes the codes, so it is part of the fingerprint, as `size` is.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..common.checkpoint import Checkpoint
from ..common.keys import Drop, Fuse, KeyMap, Rename, Squeeze
from ..common.quantize.config import BinaryConfig
from .base import ImageTokenizer
from .instella_net import InstellaConfig, InstellaNet
from .vit1d import ViTSize

PRESETS: dict[str, dict[str, Any]] = {
    "bae": {"rotation": False, "start": 0.02},
    "bae_1024": {"rotation": False, "start": 0.02, "size": 512, "scale": 1024},
    "small64": {
        "size": 64, "patch": 8, "tokens": 32, "fold": 2, "unfold": 2, "axes": (4, 14, 14),
        "encoder": ViTSize(width=128, layers=4, heads=4), "decoder": ViTSize(width=128, layers=4, heads=4),
        "quantizer": BinaryConfig(bits=16, form="bernoulli"),
    },
    "small256": {
        "size": 256, "tokens": 64, "fold": 3, "unfold": 3, "axes": (4, 14, 14),
        "encoder": ViTSize(width=256, layers=6, heads=8), "decoder": ViTSize(width=256, layers=6, heads=8),
        "quantizer": BinaryConfig(bits=32, form="bernoulli"),
    },
}  # fmt: skip
"""The published tokenizer with either spread of positions, and two of ours to train on small machines."""

KEYS = KeyMap(
    Drop(r"^decoder\.repa_proj\."),  # a head that training alone uses
    Squeeze(r"^encoder\.latent_tokens$", (0,)),
    Squeeze(r"^decoder\.mask_tokens$", (0, 1)),
    Rename(r"^encoder\.latent_tokens$", "encoder.latents"),
    Rename(r"^decoder\.mask_tokens$", "decoder.mask"),
    Rename(r"\.patch_embedder\.", ".embed."),
    Rename(r"\.(down|up)_layers\.0\.conv\.", ".resize."),
    Rename(r"^decoder\.input_layer\.0\.", "decoder.norm_in."),
    Rename(r"^decoder\.input_layer\.1\.", "decoder.embed."),
    Rename(r"\.norm_out\.", ".norm."),
    Rename(r"\.proj_out\.", ".out."),
    Rename(r"\.transformer_blocks\.", ".blocks."),
    Rename(r"\.input_layernorm\.", ".norm_1."),
    Rename(r"\.post_attention_layernorm\.", ".norm_2."),
    Fuse(r"\.attn\.{}_proj\.", ("q", "k", "v"), ".attn.qkv."),
    Rename(r"\.attn\.o_proj\.", ".attn.out."),
    Rename(r"\.attn\.norm_([qk])\.", r".attn.\1_norm."),
    Fuse(r"\.mlp\.{}_proj\.", ("gate", "up"), ".mlp.up."),
    Rename(r"\.mlp\.down_proj\.", ".mlp.down."),
    Rename(r"^quantizer\.proj\.0\.", "to_bits."),
    Rename(r"^quantizer\.embed$", "values"),
    Rename(r"^to_pixel\.", "to_pixels."),
)


def released(checkpoint: Checkpoint) -> tuple[InstellaConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of a released binary tokenizer.

    Sizes come from the shapes. After which block the grid changes, and the axes, are in no tensor: they are
    those of the published configuration. Positions are spread over 1024 pixels, as the generators want it.
    """
    state = checkpoint.state
    patch = state["encoder.patch_embedder.weight"]
    config = InstellaConfig(
        size=PRESETS["bae_1024"]["size"],
        scale=PRESETS["bae_1024"]["scale"],
        rotation=False,
        start=0.02,
        tokens=state["encoder.latent_tokens"].shape[1],
        patch=patch.shape[-1],
        encoder=_size(state, "encoder"),
        decoder=_size(state, "decoder"),
        quantizer=BinaryConfig(bits=state["quantizer.proj.0.weight"].shape[0], form="bernoulli"),
    )
    return config, KEYS.ours(state)


def _size(state: dict[str, Tensor], half: str) -> ViTSize:
    blocks = f"{half}.transformer_blocks."
    width = state[f"{half}.norm_out.weight"].shape[0]
    layers = sum(key.startswith(blocks) and key.endswith(".input_layernorm.weight") for key in state)
    return ViTSize(width=width, layers=layers, heads=width // state[f"{blocks}0.attn.norm_q.weight"].shape[0])


class Instella(ImageTokenizer):
    """Pictures as bits; see `ImageTokenizer` for the options that all systems have.

    `size` and `scale` may be given beside weights, and `decode` takes another `size`: a side in pixels, or
    height and width.
    """

    tokenizer = "image.instella"
    Config, Net = InstellaConfig, InstellaNet
    adjustable = frozenset({"size", "scale"})
    released = staticmethod(released)

    def __init__(self, weights: Any = None, *, preset: str | None = None, **options: Any) -> None:
        if weights is not None and preset is not None:  # what no weight holds comes from the preset
            wanted = self.preset(preset)
            options = {"size": wanted.size, "scale": wanted.scale, **options}
        super().__init__(weights, preset=preset, **options)

    @classmethod
    def preset(cls, name: str) -> InstellaConfig:
        """The published network "bae" or "bae_1024", or our "small64" or "small256".

        Raises:
            ValueError: none is called so.
        """
        if name not in PRESETS:
            raise ValueError(f"no Instella is called {name!r}: there are {', '.join(PRESETS)}")
        return InstellaConfig(**PRESETS[name])

    def guidance(self, count: int, size: int | tuple[int, int] | None = None, **given: Any) -> dict[str, Any]:
        """The size of the pictures, if it is not that of the configuration.

        Raises:
            TypeError: another keyword.
        """
        if given:
            raise TypeError(f"decode takes size, and no {', '.join(given)}")
        if size is None:
            return {}
        return {"size": (size, size) if isinstance(size, int) else tuple(size)}
