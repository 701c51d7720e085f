"""How released transformers name their tensors, and how those become the parts of `Any2Point`'s frozen half."""

from __future__ import annotations

from dataclasses import dataclass

from ...common.keys import Drop, Fuse, KeyMap, Rename, Rule
from .config import Activation, Kind


@dataclass(frozen=True)
class Layout:
    """One family of released files.

    Args:
        name: for messages.
        source: its kind.
        mark: pattern of a tensor's name that tells it from all others.
        keys: its names to ours.
        activation, eps, patch: where no configuration tells them.
        after: norms stand behind the sums.
        transposed: matrices are [in, out].
        leading: audio: rows of the positions that belong to class tokens.
        rows: audio: rows of the grid of patches.
        mono: its patches have one channel; None where that does not matter.
    """

    name: str
    source: Kind
    mark: str
    keys: KeyMap
    activation: Activation = "gelu"
    eps: float = 1e-5
    patch: int = 16
    after: bool = False
    transposed: bool = False
    leading: int = 1
    rows: int = 12
    mono: bool | None = None


def _openai(root: str, positions: str, opening: str, norm: str) -> KeyMap:
    """CLIP by OpenAI and open_clip."""
    return KeyMap(
        Rename(rf"^{root}transformer\.resblocks\.(\d+)\.", r"layers.\1."),
        Rename(r"^(layers\.\d+\.)ln_", r"\1norm_"),
        Rename(r"^(layers\.\d+\.attn\.)in_proj_", r"\1qkv."),
        Rename(r"^(layers\.\d+\.attn\.)out_proj", r"\1out"),
        *_mlp("c_fc", "c_proj"),
        Rename(rf"^{opening}\.", "opening."),
        Rename(rf"^{norm}\.", "norm."),
        Rename(rf"^{positions}$", "positions"),
    )


def _clip(half: str, opening: str, norm: str) -> KeyMap:
    """CLIP in Hugging Face's names."""
    return KeyMap(
        Rename(rf"^{half}\.encoder\.layers\.(\d+)\.", r"layers.\1."),
        Fuse(r"^(layers\.\d+)\.self_attn\.{}_proj", ("q", "k", "v"), r"\1.attn.qkv"),
        Rename(r"^(layers\.\d+\.)self_attn\.out_proj", r"\1attn.out"),
        Rename(r"^(layers\.\d+\.)layer_norm([12])", r"\1norm_\2"),
        *_mlp("fc1", "fc2"),
        Rename(rf"^{half}\.{opening}\.", "opening."),
        Rename(rf"^{half}\.{norm}\.", "norm."),
        Rename(rf"^{half}\.embeddings\.position_embedding\.weight$", "positions"),
    )


def _encoder(*rules: Rule) -> KeyMap:
    """The BERT family of Hugging Face's names: encoder.layer.N, attention.output.dense, intermediate.dense."""
    return KeyMap(
        Rename(r"^(?:[a-z_]+\.)?encoder\.layer\.(\d+)\.", r"layers.\1."),
        Fuse(r"^(layers\.\d+)\.attention\.(?:self|attention)\.{}", ("query", "key", "value"), r"\1.attn.qkv"),
        Rename(r"^(layers\.\d+\.)attention\.output\.dense", r"\1attn.out"),
        *rules,
        *_mlp("intermediate.dense", "output.dense", inner=""),
        Rename(r"^(?:[a-z_]+\.)?embeddings\.position_embeddings(\.weight)?$", "positions"),
        Rename(r"^(?:[a-z_]+\.)?layernorm\.", "norm."),
    )


def _mlp(up: str, down: str, inner: str = "mlp.") -> tuple[Rename, Rename]:
    up, down, inner = (name.replace(".", r"\.") for name in (up, down, inner))
    return (
        Rename(rf"^(layers\.\d+)\.{inner}{up}\.", r"\1.mlp.up."),
        Rename(rf"^(layers\.\d+)\.{inner}{down}\.", r"\1.mlp.down."),
    )


TIMM = (
    Rename(r"^(layers\.\d+\.)norm_?([12])\.", r"\1norm_\2."),
    Rename(r"^(layers\.\d+\.)ls([12])\.", r"\1scale_\2."),
    Rename(r"^(layers\.\d+\.attn\.)(?:out_)?proj\.", r"\1out."),
    *_mlp("fc1", "fc2"),
)
VIT = (
    Rename(r"^(layers\.\d+\.)layernorm_before", r"\1norm_1"),
    Rename(r"^(layers\.\d+\.)layernorm_after", r"\1norm_2"),
)
BERT = KeyMap(
    *_encoder(
        Rename(r"^(layers\.\d+\.)attention\.output\.LayerNorm", r"\1norm_1"),
        Rename(r"^(layers\.\d+\.)output\.LayerNorm", r"\1norm_2"),
    ).rules,
    Rename(r"^(?:[a-z_]+\.)?embeddings\.LayerNorm\.", "opening."),
    Rename(r"^(?:[a-z_]+\.)?embeddings\.token_type_embeddings\.weight$", "types"),
)
DINOV2 = _encoder(
    *TIMM,
    Rename(r"^(layers\.\d+\.)layer_scale([12])\.lambda1$", r"\1scale_\2.gamma"),
)
GPT2 = KeyMap(
    Rename(r"^(?:transformer\.)?h\.(\d+)\.", r"layers.\1."),
    Drop(r"^layers\.\d+\.attn\.(masked_)?bias$"),
    Rename(r"^(layers\.\d+\.)ln_", r"\1norm_"),
    Rename(r"^(layers\.\d+\.attn\.)c_attn\.", r"\1qkv."),
    Rename(r"^(layers\.\d+\.attn\.)c_proj\.", r"\1out."),
    *_mlp("c_fc", "c_proj"),
    Rename(r"^(?:transformer\.)?ln_f\.", "norm."),
    Rename(r"^(?:transformer\.)?wpe\.weight$", "positions"),
)
IMAGEBIND = KeyMap(
    Rename(r"^modality_trunks\.audio\.blocks\.(\d+)\.", r"layers.\1."),
    Drop(r"^layers\.\d+\.attn\.bias_[kv]$"),  # one more key and value, which Any2Point leaves out
    Rename(r"^(layers\.\d+\.attn\.)in_proj_", r"\1qkv."),
    *TIMM,
    Rename(r"^modality_preprocessors\.audio\.pos_embedding_helper\.pos_embed$", "positions"),
    Rename(r"^modality_heads\.audio\.0\.", "norm."),
)

LAYOUTS = (
    Layout("CLIP", "language", r"^text_model\.encoder\.layers", _clip("text_model", "-", "final_layer_norm"),
           "quick_gelu"),
    Layout("CLIP", "vision", r"^vision_model\.encoder\.layers",
           _clip("vision_model", "pre_layrnorm", "post_layernorm"), "quick_gelu"),
    Layout("CLIP", "language", r"^(text\.)?transformer\.resblocks",
           _openai(r"(?:text\.)?", r"(?:text\.)?positional_embedding", "-", r"(?:text\.)?ln_final"), "quick_gelu"),
    Layout("CLIP", "vision", r"^visual\.transformer\.resblocks",
           _openai(r"visual\.", r"visual\.positional_embedding", r"visual\.ln_pre", r"visual\.ln_post"),
           "quick_gelu"),
    Layout("BERT", "language", r"encoder\.layer\.0\.attention\.self\.query", BERT, eps=1e-12, after=True),
    Layout("GPT-2", "language", r"^(transformer\.)?h\.0\.attn\.c_attn", GPT2, "gelu_tanh", transposed=True),
    Layout("ImageBind", "audio", r"^modality_trunks\.audio\.blocks", IMAGEBIND, eps=1e-6, rows=19),
    Layout("AST", "audio", r"encoder\.layer\.0\.layernorm_before", _encoder(*VIT), eps=1e-12, leading=2, mono=True),
    Layout("DINOv2", "vision", r"^(\w+\.)?encoder\.layer\.0\.layer_scale1", DINOV2, eps=1e-6, patch=14),
    Layout("ViT", "vision", r"encoder\.layer\.0\.layernorm_before", _encoder(*VIT), eps=1e-12, mono=False),
    Layout("ViT or DINOv2", "vision", r"^blocks\.0\.attn\.qkv",
           KeyMap(Rename(r"^blocks\.(\d+)\.", r"layers.\1."), *TIMM, Rename(r"^pos_embed$", "positions")), eps=1e-6,
           patch=14),
)  # fmt: skip
"""In the order in which they are tried."""
