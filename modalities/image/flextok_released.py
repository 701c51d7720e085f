"""FlexTok's released files: their names, and what their metadata say beyond the shapes.

The files carry a program's configuration that the official loader runs; here it is read as plain data
(`modalities.common.checkpoint`), a handful of known fields are taken, and all others are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor

from unitok.budget import Kind

from ..common.checkpoint import Checkpoint
from ..common.keys import Fuse, KeyMap, Rearrange, Rename, Split
from ..common.quantize.config import FSQConfig
from ..common.weights import WeightsMismatch
from . import vae
from .flextok_config import FlexTokConfig
from .vit1d import ViTSize

HEAD = 64
"""Channels of a head in all released files; no tensor tells."""

KEYS = KeyMap(
    Rename(r"^(en|de)coder\.module_dict\.(?:enc|dec)_", r"\1coder."),
    Rearrange(r"\.registers_posemb_module\.posembs$", "a b w k -> (a b k) w"),
    Rearrange(r"\.(patches_)?posemb_module\.posembs$", "a w h v -> (a h v) w"),
    Rename(r"\.registers_posemb_module\.posembs$", ".register_place"),
    Rename(r"\.(patches_)?posemb_module\.posembs$", ".place"),
    Rename(r"\.(noise_)?patch_emb\.patch_proj\.", ".embed."),
    Rename(r"^encoder\.register_module\.registers$", "encoder.registers"),
    Rename(r"^encoder\.to_latents\.proj\.", "encoder.out."),
    Rename(r"^decoder\.from_latents\.proj\.", "decoder.from_codes."),
    Rename(r"^decoder\.nested_dropout\.dropout_mask_token$", "decoder.mask"),
    Rename(r"^decoder\.latent_dropout\.nullcond$", "decoder.null"),
    Rename(r"^decoder\.time_embedder\.mlp\.0\.", "decoder.time.up."),
    Rename(r"^decoder\.time_embedder\.mlp\.2\.", "decoder.time.down."),
    Rename(r"^decoder\.to_patches\.adaLN_modulation\.1\.", "decoder.head_modulation."),
    Rename(r"^decoder\.to_patches\.proj\.", "decoder.out."),
    Split(r"\.adaLN_modulation\.1\.", {".patch_modulation.linear.": 1, ".register_modulation.linear.": 1}),
    Rename(r"\.transformer\.blocks\.(\d+)\.(patch|register)_modulation\.", r".\2_modulation.\1."),
    Rename(r"\.transformer\.blocks\.", ".blocks."),
    Fuse(r"\.attn\.w{}\.", ("q", "k", "v"), ".attn.qkv."),
    Rename(r"(\.blocks\.\d+)\.attn\.proj\.", r"\1.attn.out."),
    Fuse(r"\.mlp\.fc{}\.", ("1", "3"), ".mlp.up."),
    Rename(r"\.mlp\.fc2\.", ".mlp.down."),
    Rename(r"^(?:vae\.)+", "vae."),
    *vae.KEYS.rules,
)


def ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released tensors under our names, those of a VAE alone (diffusers' names) as well; ours stay as they are."""
    if "post_quant_conv.weight" in state:
        state = {f"vae.{key}": tensor for key, tensor in state.items()}
    return KEYS.ours(state)


def released(checkpoint: Checkpoint) -> tuple[FlexTokConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of any released FlexTok.

    Sizes come from the shapes; the VAE's scaling factor, the scale of times, the kind of nested dropout and the levels
    of the codes from what the file says of itself, or else as in `FlexTokConfig`.

    Raises:
        WeightsMismatch: heads of another size, or a readout that is scaled by width (muP): their numbers would be wrong.
    """
    state, said = ours(checkpoint.state), _said(checkpoint.config)
    if True in _found(said, "use_mup_readout"):
        raise WeightsMismatch(
            f"{checkpoint.source} divides its last layers by a width multiplier (use_mup_readout), which no tensor "
            "tells: only files without it are read"
        )
    if odd := [size for size in _found(said, "head_dim") if size not in (None, HEAD)]:
        raise WeightsMismatch(
            f"{checkpoint.source} has heads of {odd[0]} channels, scaled otherwise than here: all released have {HEAD}"
        )
    latents = state["vae.from_latents.weight"].shape[0]
    levels = len([key for key in state if re.fullmatch(r"vae\.encoder\.levels\.\d+\.0\.conv_1\.weight", key)])
    channels = tuple(state[f"vae.encoder.levels.{i}.0.conv_1.weight"].shape[0] for i in range(levels))
    blocks = [key for key in state if re.fullmatch(r"vae\.encoder\.levels\.0\.\d+\.conv_1\.weight", key)]
    patch = round((state["encoder.embed.weight"].shape[1] / latents) ** 0.5)
    autoencoder = vae.ConvVAEConfig(channels=channels, blocks=len(blocks), latents=latents)
    config = FlexTokConfig(
        size=round(state["encoder.place"].shape[0] ** 0.5) * patch * autoencoder.factor,
        tokens=state["encoder.registers"].shape[0],
        vae=autoencoder,
        patch=patch,
        encoder=_size(state, "encoder"),
        decoder=_size(state, "decoder"),
        modulated_head="decoder.head_modulation.weight" in state,
        **_told(said),
    )
    return config, state


def _size(state: Mapping[str, Tensor], half: str) -> ViTSize:
    width = state[f"{half}.embed.weight"].shape[0]
    layers = sum(key.startswith(f"{half}.blocks.") and key.endswith(".attn.qkv.weight") for key in state)
    return ViTSize(width=width, layers=layers, heads=width // HEAD)


def _said(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of the parts, which stands alone or under "config"."""
    inner = config.get("config")
    return inner if isinstance(inner, Mapping) else config


def _told(said: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of our configuration that a file tells, as far as they are what they should be."""
    found: dict[str, Any] = {}
    for name, part, key in (
        ("scaling_factor", "vae", "scaling_factor"),
        ("max_timestep", "decoder", "max_timestep"),
        ("null", "decoder", "dropout_prob"),
    ):
        numbers = [float(v) for v in _found(said.get(part), key) if _number(v)]
        found |= {name: numbers[0]} if numbers else {}
    kinds = [v for v in _found(said.get("decoder"), "size_sampling_mode") if v in get_args(Kind)]
    found |= {"nested": kinds[0]} if kinds else {}
    for levels in _found(said.get("regularizer"), "levels"):
        if isinstance(levels, list | tuple) and levels and all(isinstance(v, int) for v in levels):
            found["quantizer"] = FSQConfig(levels=tuple(levels), form="published")
    return found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _found(said: object, key: str) -> list[Any]:
    """What stands under a key, anywhere in nested mappings and lists, in their order."""
    if isinstance(said, Mapping):
        here = [said[key]] if key in said else []
        return here + [each for value in said.values() for each in _found(value, key)]
    return [each for value in said for each in _found(value, key)] if isinstance(said, list | tuple) else []
