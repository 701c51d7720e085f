"""DetailFlow's released files, and the image encoder that its own training starts from, under our names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..common.checkpoint import Checkpoint
from ..common.keys import Drop, Fuse, KeyMap, Rename, Squeeze
from ..common.quantize.config import VQConfig
from .detailflow_config import DetailFlowConfig
from .vit1d import ViTSize

LAYERS = (
    Fuse(r"\.self_attn\.{}_proj\.", ("q", "k", "v"), ".attn.qkv."),
    Rename(r"\.self_attn\.out_proj\.", ".attn.out."),
    Rename(r"\.layer_norm([12])\.", r".norm_\1."),
    Rename(r"\.mlp\.fc1\.", ".mlp.up."),
    Rename(r"\.mlp\.fc2\.", ".mlp.down."),
)
"""Names inside a block, the same in SigLIP's own files."""

KEYS = KeyMap(
    Drop(
        r"^(repa_model|projection|global_token_proj)\."
    ),  # the frozen teacher and the way to it: training alone
    Drop(r"^quantize\.codebook_used$"),  # the window of usage in training
    Squeeze(r"\.(latent_pos_embed|latent_tokens|refined_tokens|mask_token)$", (0,)),
    Rename(r"\.latent_pos_embed$", ".latent_place"),
    Rename(r"\.latent_tokens$", ".latents"),
    Rename(r"\.refined_tokens$", ".refined"),
    Rename(r"\.mask_token$", ".mask"),
    Rename(r"\.visual_model\.embeddings\.patch_embedding\.", ".embed."),
    Rename(r"\.visual_model\.embeddings\.position_embedding\.weight$", ".place"),
    Rename(r"\.visual_model\.encoder\.layers\.", ".blocks."),
    Rename(r"\.visual_model\.post_layernorm\.", ".norm_out."),
    Rename(r"\.to_pixel\.model\.", ".to_pixels."),
    Rename(r"^quant_conv\.", "to_code."),
    Rename(r"^post_quant_conv\.", "from_code."),
    Rename(r"^refine_conv\.", "refine."),
    Rename(r"^quantize\.embedding\.weight$", "quantizer.codebook"),
    *LAYERS,
)

SIGLIP = KeyMap(
    Rename(r"^vision_model\.", ""),
    Drop(r"^(head|text_model|logit_scale|logit_bias)"),
    Rename(r"^embeddings\.patch_embedding\.", "encoder.embed."),
    Rename(r"^embeddings\.position_embedding\.weight$", "encoder.place"),
    Rename(r"^encoder\.layers\.", "encoder.blocks."),
    Rename(r"^post_layernorm\.", "encoder.norm_out."),
    *LAYERS,
)
"""SigLIP 2's vision model with patches of 16 of any shape ("naflex") as the encoder."""

HEADS = {1152: 16}
"""Heads of a width that has other ones than width / 64: SigLIP's SO400M. No tensor tells."""


def released(checkpoint: Checkpoint) -> tuple[DetailFlowConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of a released tokenizer; sizes come from the shapes.

    The size of a group is what config.json says, or else 8; the power of the law is that of the paper, 1.5.
    """
    state = checkpoint.state
    table = state["quantize.embedding.weight"]
    rows, width = state["encoder.visual_model.embeddings.position_embedding.weight"].shape
    pixels = state["encoder.visual_model.embeddings.patch_embedding.weight"].shape[1] // 3
    hidden = state["encoder.visual_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
    group = checkpoint.config.get("group_size")
    config = DetailFlowConfig(
        size=round(rows**0.5) * round(pixels**0.5),
        tokens=state["encoder.latent_tokens"].shape[1],
        patch=round(pixels**0.5),
        group=group if isinstance(group, int) and group > 0 else 8,
        encoder=_size(state, "encoder"),
        decoder=_size(state, "decoder"),
        hidden=0 if hidden == 4 * width else hidden,
        quantizer=VQConfig(codes=table.shape[0], dim=table.shape[1], l2=True, learn="gradient"),
    )
    return config, KEYS.ours(state)


def _size(state: Mapping[str, Any], half: str) -> ViTSize:
    blocks = f"{half}.visual_model.encoder.layers."
    width = state[f"{half}.visual_model.post_layernorm.weight"].shape[0]
    layers = sum(key.startswith(blocks) and key.endswith(".layer_norm1.weight") for key in state)
    return ViTSize(width=width, layers=layers, heads=HEADS.get(width, width // 64))
