"""Released SEED files: strict, told by their keys, and equal to the official modules' outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from released import agrees, fill, filled, numbers

from modalities.common.checkpoint import Checkpoint
from modalities.common.quantize.config import VQConfig
from modalities.common.weights import WeightsMismatch, load_weights
from modalities.image.seed import Seed
from modalities.image.seed_config import PRESETS, SeedConfig, VisionConfig
from modalities.image.seed_net import SeedNet
from modalities.image.seed_released import EVA, begun, ours, released

GOLDEN = Path(__file__).parents[2] / "golden" / "seed.json"
TINY = SeedConfig(
    size=28,
    vision=VisionConfig(patch=14, width=44, layers=2, heads=4, hidden=88),
    width=48,
    layers=4,
    heads=12,
    hidden=96,
    quantizer=VQConfig(codes=64, dim=8, learn="gradient"),
    depth=2,
    embedding=20,
)
"""The sizes that the official modules were run at."""


def noted() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    return found


def linear(name: str, out: int, into: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def bert(
    name: str, layers: int, width: int, hidden: int, memory: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A Q-Former without what reads text."""
    yield f"{name}.bert.embeddings.position_ids", (1, 512)
    yield from norm(f"{name}.bert.embeddings.LayerNorm", width)
    for i in range(layers):
        layer = f"{name}.bert.encoder.layer.{i}"
        for attention, into in (("attention", width), ("crossattention", memory)):
            if attention == "attention" or i % 2 == 0:
                yield from linear(f"{layer}.{attention}.self.query", width, width)
                yield from linear(f"{layer}.{attention}.self.key", width, into)
                yield from linear(f"{layer}.{attention}.self.value", width, into)
                yield from linear(f"{layer}.{attention}.output.dense", width, width)
                yield from norm(f"{layer}.{attention}.output.LayerNorm", width)
        yield from linear(f"{layer}.intermediate_query.dense", hidden, width)
        yield from linear(f"{layer}.output_query.dense", width, hidden)
        yield from norm(f"{layer}.output_query.LayerNorm", width)


def stack(name: str, depth: int, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for i in range(depth):
        yield from norm(f"{name}.{i}.norm1", width)
        yield from linear(f"{name}.{i}.attn.qkv", 3 * width, width)
        yield from linear(f"{name}.{i}.attn.proj", width, width)
        yield from norm(f"{name}.{i}.norm2", width)
        yield from linear(f"{name}.{i}.mlp.fc1", 4 * width, width)
        yield from linear(f"{name}.{i}.mlp.fc2", width, 4 * width)


def vit(
    prefix: str, layers: int, width: int, hidden: int, patches: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{prefix}cls_token", (1, 1, width)
    yield f"{prefix}pos_embed", (1, patches + 1, width)
    yield f"{prefix}patch_embed.proj.weight", (width, 3, 14, 14)
    yield f"{prefix}patch_embed.proj.bias", (width,)
    for i in range(layers):
        block = f"{prefix}blocks.{i}"
        yield from norm(f"{block}.norm1", width)
        yield f"{block}.attn.q_bias", (width,)
        yield f"{block}.attn.v_bias", (width,)
        yield f"{block}.attn.qkv.weight", (3 * width, width)
        yield from linear(f"{block}.attn.proj", width, width)
        yield from norm(f"{block}.norm2", width)
        yield from linear(f"{block}.mlp.fc1", hidden, width)
        yield from linear(f"{block}.mlp.fc2", width, hidden)


def layout(branch: str, *, small: bool = False) -> dict[str, tuple[int, ...]]:
    """The keys of a `seed_quantizer.pt`, as the official modules make them; `small` is one head wide."""
    width, hidden, layers, depth = (64, 128, 4, 1) if small else (768, 3072, 12, 4)
    seen, inner, blocks = (88, 128, 1) if small else (1408, 6144, 39)
    codes, dim = (64, 8) if small else (8192, 32)

    def keys() -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "query_tokens", (1, 32, width)
        yield from vit("visual_encoder.", blocks, seen, inner, 256)
        yield from norm("ln_vision", seen)
        yield from bert("Qformer", layers, width, hidden, seen)
        yield from linear("encode_task_layer.0", width, width)
        yield from linear("encode_task_layer.2", dim, width)
        yield "quantize.embedding.weight", (codes, dim)
        yield from linear("decode_task_layer.0", dim, dim)
        yield from linear("decode_task_layer.2", width, dim)
        yield "pos_embed", (1, 32, width)
        yield from stack("blocks", depth, width)
        yield "pos_embed_image", (1, 32, width)
        yield from stack("blocks_image", depth, width)
        if branch == "reverse":
            yield "reverse_tokens", (1, 1, width)
            yield from bert("Reverse_Qformer", layers, width, hidden, width)
            yield from linear("distill_image_proj", 1024, width)
        else:
            for number, (out, into) in zip((0, 2, 4), ((256, width), (128, 256), (32, 128)), strict=True):
                yield f"image_down.{number}.weight", (out, into)
            yield from linear("distill_image_proj", 1024, 32 * 32)

    return dict(keys())


@pytest.mark.parametrize("branch", ["reverse", "mlp"])
def test_codes_embeddings_and_rebuilt_tokens_equal_the_official_modules(branch: str) -> None:
    said = noted()[branch]
    shapes = {key: tuple(shape) for key, shape in said["shapes"].items()}
    net = SeedNet(TINY.model_copy(update={"branch": branch})).eval()
    load_weights(net, ours(filled(shapes)))
    pictures = (numbers("pictures", (3, 3, 28, 28)) * 4 - 2).float()  # normalised already
    with torch.no_grad():
        agrees(net.norm_vision(net.vision(pictures)), said["features"])
        tokens = net.tokens(pictures * net.std + net.mean)
        agrees(tokens, said["tokens"])
        z = net.to_code(tokens)
        agrees(z, said["latents"])
        ids = net.quantizer.encode(z)
        assert ids.tolist() == said["codes"]
        z_q = net.quantizer.lookup(ids)
        agrees(net.embedding(z_q), said["embedding"])
        agrees(net.rebuilt(z_q), said["rebuilt"])


@pytest.mark.parametrize(("legacy", "name"), [(True, "legacy"), (False, "mended")])
def test_the_commitment_weighs_on_the_encoder_or_as_released_on_the_codebook(legacy: bool, name: str) -> None:
    said = noted()["reverse"]
    net = SeedNet(TINY.model_copy(update={"branch": "reverse", "legacy": legacy})).eval()
    load_weights(net, ours(filled({key: tuple(shape) for key, shape in said["shapes"].items()})))
    pictures = (numbers("pictures", (3, 3, 28, 28)) * 4 - 2).float()
    z = net.encode(pictures * net.std + net.mean).detach().requires_grad_()
    loss = net.quantizer(z).loss
    loss.backward()
    assert loss.item() == pytest.approx(said["loss"], rel=1e-4)
    assert z.grad is not None
    assert z.grad.norm().item() == pytest.approx(said["pull"][name]["latents"], rel=1e-3)
    codebook = net.quantizer.codebook
    assert codebook.grad.norm().item() == pytest.approx(said["pull"][name]["codebook"], rel=1e-3)


@pytest.mark.parametrize("branch", ["reverse", "mlp"])
def test_the_layout_of_the_tests_is_that_of_the_official_modules(branch: str) -> None:
    """Keys of the tiny official modules, whose two BERT layers and blocks have the names that all of them have."""
    tiny = set(noted()[branch]["shapes"])
    full = set(layout(branch))
    assert tiny <= full
    assert {key.replace("layer.11.", "layer.3.").replace("blocks.38.", "blocks.1.") for key in full} > tiny


@pytest.mark.slow
@pytest.mark.parametrize("branch", ["reverse", "mlp"])
def test_the_released_layout_is_consumed_whole_at_its_full_size(branch: str) -> None:
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in layout(branch).items()}
        config, found = released(Checkpoint(state, {}, "seed_quantizer.pt"))
        own = SeedNet(config).state_dict()
    assert config == PRESETS["published_reverse" if branch == "reverse" else "published"]
    assert {key: tuple(t.shape) for key, t in found.items()} == {k: tuple(t.shape) for k, t in own.items()}


def small(branch: str) -> dict[str, torch.Tensor]:
    return {key: fill(key, shape) for key, shape in layout(branch, small=True).items()}


@pytest.mark.parametrize("branch", ["reverse", "mlp"])
def test_a_file_opens_with_the_branch_that_it_has_and_codes_a_picture(branch, tmp_path, emoji) -> None:
    torch.save(small(branch), tmp_path / "seed_quantizer.pt")
    seed = Seed(tmp_path / "seed_quantizer.pt")
    assert (seed.config.branch, seed.config.size, seed.config.heads) == (branch, 224, 1)
    codes = seed.encode(emoji[:1])
    assert codes[0].ids.shape == (32,)
    assert seed.embedding(codes).shape == (1, 1024)
    with pytest.raises(ValueError, match=r"no decoder to pixels: give the folder of an unCLIP pipeline"):
        seed.decode(codes)


def test_missing_and_unknown_keys_are_named_and_two_branches_are_refused(tmp_path) -> None:
    def refused(state: dict[str, torch.Tensor], match: str) -> None:
        torch.save(state, tmp_path / "file.pt")
        with pytest.raises(WeightsMismatch, match=match):
            Seed(tmp_path / "file.pt")

    state = small("reverse")
    refused({k: t for k, t in state.items() if k != "encode_task_layer.2.bias"}, r"missing to_code\.2\.bias")
    refused({**state, "Qformer.cls.predictions.bias": torch.zeros(3)}, r"unexpected qformer\.cls")
    refused(state | small("mlp"), r"has both of reverse_tokens and image_down\.0\.weight")
    neither = {k: t for k, t in state.items() if k != "reverse_tokens"}
    refused(neither, r"has neither of reverse_tokens and image_down\.0\.weight")
    refused({k: t for k, t in state.items() if not k.startswith("visual_")}, rf"put {EVA}, of which")


def test_the_vision_transformer_may_lie_beside_as_it_is_distributed(tmp_path, emoji) -> None:
    state = small("mlp")
    torch.save(state, tmp_path / "whole.pt")
    apart = tmp_path / "apart"
    apart.mkdir()
    torch.save({k: t for k, t in state.items() if not k.startswith("visual_")}, apart / "seed_quantizer.pt")
    beside = {k.removeprefix("visual_encoder."): t for k, t in state.items() if k.startswith("visual_")}
    more = {
        "fc_norm.weight": torch.ones(88),
        "head.bias": torch.ones(3),
        "blocks.39.norm1.bias": torch.ones(88),
    }
    torch.save(beside | more, apart / EVA)
    one, two = Seed(tmp_path / "whole.pt"), Seed(apart / "seed_quantizer.pt")
    assert one.spec.fingerprint == two.spec.fingerprint
    assert set(begun(beside | more)) == {k for k in one.net.state_dict() if k.startswith("vision.")}


def test_training_may_begin_with_blip2s_first_stage(tmp_path) -> None:
    state = small("reverse")
    layer = "Qformer.bert.encoder.layer.0"
    blip = {k: t for k, t in state.items() if k.startswith(("Qformer", "query_tokens", "ln_vision"))} | {
        "temp": torch.tensor(0.07),
        "vision_proj.weight": torch.ones(2, 2),
        "itm_head.bias": torch.ones(2),
        "Qformer.cls.predictions.bias": torch.ones(4),
        "Qformer.bert.embeddings.word_embeddings.weight": torch.ones(4, 64),
        f"{layer}.intermediate.dense.weight": torch.ones(4, 64),
        f"{layer}.output.LayerNorm.bias": torch.ones(64),
    }
    found = begun(blip)
    own = SeedNet(released(Checkpoint(state, {}, "x"))[0]).state_dict()
    assert {k.split(".")[0] for k in found} == {"qformer", "norm_vision"}
    assert all(own[key].shape == tensor.shape for key, tensor in found.items())
