"""SEED's released files under our names: `seed_quantizer.pt`, and what its training begins with.

The official program loads with strict=False and prints two counts, and it builds the image branch that its default
asks for, whichever the file has. Here the branch follows from the keys, and whatever does not fit is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..common.checkpoint import Checkpoint, open_checkpoint
from ..common.keys import Drop, Fuse, KeyMap, Rename, Rule, Squeeze, numbered
from ..common.quantize.config import VQConfig
from ..common.weights import WeightsMismatch
from .seed_config import SeedConfig, VisionConfig

HEAD = 64
"""Channels of a head of BERT-base and of the blocks after the codes; no tensor tells."""
VISION_HEAD = 88
"""Channels of a head of EVA-CLIP's ViT-g."""
EVA = "eva_vit_g.pth"
"""The file with the vision transformer, which BLIP-2 and SEED keep apart."""
EVA_LAYERS = 39
"""Of its forty blocks SEED, as BLIP-2, uses all but the last."""

VIT: tuple[Rule, ...] = (
    Rename(r"\.norm([12])\.", r".norm_\1."),
    Rename(r"\.attn\.proj\.", ".attn.out."),
    Rename(r"\.mlp\.fc1\.", ".mlp.up."),
    Rename(r"\.mlp\.fc2\.", ".mlp.down."),
)
BERT: tuple[Rule, ...] = (
    Drop(r"Qformer\.bert\.embeddings\.position_ids$"),  # a count from 0
    Rename(r"^Qformer\.", "qformer."),
    Rename(r"^Reverse_Qformer\.", "reverse."),
    Rename(r"\.bert\.embeddings\.LayerNorm\.", ".norm."),
    Rename(r"\.bert\.encoder\.layer\.", ".blocks."),
    Rename(r"\.crossattention\.self\.query\.", ".cross.q."),
    Fuse(r"\.crossattention\.self\.{}\.", ("key", "value"), ".cross.kv."),
    Rename(r"\.crossattention\.output\.dense\.", ".cross.out."),
    Rename(r"\.crossattention\.output\.LayerNorm\.", ".norm_cross."),
    Fuse(r"\.attention\.self\.{}\.", ("query", "key", "value"), ".attn.qkv."),
    Rename(r"\.attention\.output\.dense\.", ".attn.out."),
    Rename(r"\.attention\.output\.LayerNorm\.", ".norm_1."),
    Rename(r"\.intermediate_query\.dense\.", ".mlp.up."),
    Rename(r"\.output_query\.dense\.", ".mlp.down."),
    Rename(r"\.output_query\.LayerNorm\.", ".norm_2."),
)
KEYS = KeyMap(
    Rename(r"^visual_encoder\.patch_embed\.proj\.", "vision.embed."),
    Rename(r"^visual_encoder\.cls_token$", "vision.cls"),
    Rename(r"^visual_encoder\.pos_embed$", "vision.place"),
    Rename(r"^visual_encoder\.", "vision."),
    Squeeze(r"^vision\.cls$", (0, 1)),
    Squeeze(r"^vision\.place$", (0,)),
    Rename(r"^ln_vision\.", "norm_vision."),
    Rename(r"^query_tokens$", "qformer.queries.weight"),
    Rename(r"^reverse_tokens$", "reverse.queries.weight"),
    Rename(r"^pos_embed$", "semantic.place.weight"),
    Rename(r"^pos_embed_image$", "image.place.weight"),
    Squeeze(r"^(qformer|reverse)\.queries\.weight$|^(semantic|image)\.place\.weight$", (0,)),
    Rename(r"^blocks\.", "semantic.blocks."),
    Rename(r"^blocks_image\.", "image.blocks."),
    *BERT,
    *VIT,
    Rename(r"^encode_task_layer\.", "to_code."),
    Rename(r"^decode_task_layer\.", "from_code."),
    Rename(r"^quantize\.embedding\.weight$", "quantizer.codebook"),
    Rename(r"^image_down\.", "down."),
    Rename(r"^distill_image_proj\.", "to_embedding."),
)
TEXT = KeyMap(  # what BLIP-2's and SEED's first stages hold for captions and other losses
    Drop(r"^Qformer\.cls\."),
    Drop(r"^Qformer\.bert\.embeddings\.(word|position)_embeddings\."),
    Drop(r"^Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\."),
    Drop(r"^(vision_proj|text_proj|itm_head)\.|^temp$"),
)
UNUSED = KeyMap(  # of EVA-CLIP: what comes after the features
    Drop(rf"^visual_encoder\.blocks\.{EVA_LAYERS}\."),
    Drop(r"^visual_encoder\.(norm|fc_norm|head)\."),
)


def ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released tensors under our names; the keys' bias, which attention cannot feel, is zero in EVA-CLIP."""
    state = dict(state)
    for key in [key for key in state if re.search(r"^visual_encoder\..*\.attn\.q_bias$", key)]:
        q, v = state.pop(key), state.pop(key.replace("q_bias", "v_bias"))
        state[key.replace("q_bias", "qkv.bias")] = torch.cat([q, torch.zeros_like(q), v])
    return KEYS.ours(state)


def begun(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What training may begin with, under our names: an own file, SEED's, BLIP-2's first stage, or EVA-CLIP's ViT-g."""
    if any(key.startswith("qformer.") for key in state):
        return dict(state)
    if "patch_embed.proj.weight" in state:
        state = {f"visual_encoder.{key}": tensor for key, tensor in state.items()}
    return ours(TEXT.ours(UNUSED.ours(state)))


def released(checkpoint: Checkpoint) -> tuple[SeedConfig, dict[str, Tensor]]:
    """Configuration and tensors, under our names, of a released `seed_quantizer.pt`.

    A file without the vision transformer takes it from `eva_vit_g.pth` in the same folder, as it is distributed.

    Raises:
        WeightsMismatch: there is no vision transformer, or none or both of the image branches.
    """
    state = dict(checkpoint.state)
    if not any(key.startswith("visual_encoder.") for key in state):
        state |= _eva(checkpoint)
    branches = {"reverse": "reverse_tokens" in state, "mlp": "image_down.0.weight" in state}
    if sum(branches.values()) != 1:
        has = "both" if all(branches.values()) else "neither"
        raise WeightsMismatch(
            f"{checkpoint.source} has {has} of reverse_tokens and image_down.0.weight: a file of SEED has one image branch"
        )
    embed, table = state["visual_encoder.patch_embed.proj.weight"], state["quantize.embedding.weight"]
    queries, place = state["query_tokens"], state["visual_encoder.pos_embed"]
    width = queries.shape[-1]
    down = (
        tuple(state[f"image_down.{i}.weight"].shape[0] for i in (0, 2, 4))
        if branches["mlp"]
        else (256, 128, 32)
    )
    layers = numbered(state, r"Qformer\.bert\.encoder\.layer\.(\d+)\.")
    crossed = [
        i
        for i in range(layers)
        if f"Qformer.bert.encoder.layer.{i}.crossattention.self.query.weight" in state
    ]
    config = SeedConfig(
        size=round((place.shape[1] - 1) ** 0.5) * embed.shape[-1],
        tokens=queries.shape[1],
        vision=VisionConfig(
            patch=embed.shape[-1],
            width=embed.shape[0],
            layers=numbered(state, r"visual_encoder\.blocks\.(\d+)\."),
            heads=max(1, embed.shape[0] // VISION_HEAD),
            hidden=state["visual_encoder.blocks.0.mlp.fc1.weight"].shape[0],
        ),
        width=width,
        layers=layers,
        heads=width // HEAD,
        hidden=state["Qformer.bert.encoder.layer.0.intermediate_query.dense.weight"].shape[0],
        cross_every=crossed[1] if len(crossed) > 1 else layers,
        quantizer=VQConfig(codes=table.shape[0], dim=table.shape[1], learn="gradient"),
        depth=numbered(state, r"blocks_image\.(\d+)\."),
        semantic="pos_embed" in state,
        branch="mlp" if branches["mlp"] else "reverse",
        down=down,
        embedding=state["distill_image_proj.weight"].shape[0],
    )  # fmt: skip
    return config, ours(state)


def _eva(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The vision transformer from the file beside."""
    beside = [file.parent / EVA for file in checkpoint.files[:1]]
    if not beside or not beside[0].is_file():
        raise WeightsMismatch(
            f"{checkpoint.source} holds no visual_encoder.*: put {EVA}, of which SEED uses {EVA_LAYERS} blocks, beside it"
        )
    state = open_checkpoint(beside[0]).state
    return UNUSED.ours({f"visual_encoder.{key}": tensor for key, tensor in state.items()})
