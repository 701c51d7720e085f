from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from unitok.generate.cache import Cache
from unitok.modality import Side
from unitok.model import embed
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder

VOCAB = 90
CHANNELS = {"molecule_shell": Side("ids", 3, 20), "cloud_xyz": Side("float", 4)}
LENGTHS = (7, 12, 1, 9)
PADS = 3


def decoder(**change: Any) -> Decoder:
    torch.manual_seed(3)
    preset = ModelConfig.preset(2, vocab_size=VOCAB, channels=CHANNELS)
    built = Decoder(ModelConfig(**{**vars(preset), **change})).eval()
    for name in CHANNELS:
        torch.nn.init.normal_(built.model.get_submodule(f"embed_{name}").weight)
    return built


def row(lengths: tuple[int, ...] = LENGTHS, pads: int = PADS) -> dict[str, Any]:
    g = torch.Generator().manual_seed(1)
    size = sum(lengths) + pads
    doc = [d for d, n in enumerate(lengths) for _ in range(n)] + [-1] * pads
    pos = [p for n in lengths for p in range(n)] + [0] * pads
    shell = torch.randint(-1, 20, (1, size, 3), generator=g)
    return {
        "tokens": torch.randint(0, VOCAB, (1, size), generator=g),
        "doc": torch.tensor([doc]),
        "pos": torch.tensor([pos]),
        "side": {"molecule_shell": shell, "cloud_xyz": torch.randn(1, size, 4, generator=g)},
    }


def part(batch: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    side = {name: value[:, start:stop] for name, value in batch["side"].items()}
    return {name: value[:, start:stop] for name, value in batch.items() if name != "side"} | {"side": side}


@torch.no_grad()
def logits(model: Decoder, batch: dict[str, Any]) -> Tensor:
    return model.logits(model(**batch))


def spans() -> list[tuple[int, int]]:
    starts = [sum(LENGTHS[:i]) for i in range(len(LENGTHS))]
    return [(start, start + n) for start, n in zip(starts, LENGTHS, strict=True)]


def test_a_packed_document_has_the_logits_it_has_alone() -> None:
    model, packed = decoder(), row()
    together = logits(model, packed)
    for start, stop in spans():
        alone = logits(model, part(packed, start, stop))
        torch.testing.assert_close(together[:, start:stop], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changed", range(len(LENGTHS)))
def test_perturbing_one_document_changes_no_other_by_a_bit(changed: int) -> None:
    model, packed = decoder(), row()
    before = logits(model, packed)
    start, stop = spans()[changed]
    packed["tokens"][:, start:stop] = (packed["tokens"][:, start:stop] + 1) % VOCAB
    packed["side"]["cloud_xyz"][:, start:stop] += 5.0
    after = logits(model, packed)
    others = torch.ones(before.shape[1], dtype=torch.bool)
    others[start:stop] = False
    assert torch.equal(before[:, others], after[:, others])
    assert not torch.equal(before[:, start:stop], after[:, start:stop])


def test_later_tokens_change_no_earlier_logits() -> None:
    model, batch = decoder(), row((20,), 0)
    before = logits(model, batch)
    batch["tokens"][:, 11] = (batch["tokens"][:, 11] + 1) % VOCAB
    after = logits(model, batch)
    assert torch.equal(before[:, :11], after[:, :11])
    assert not torch.equal(before[:, 11:], after[:, 11:])


def test_positions_and_pads_are_finite_and_matter() -> None:
    model, batch = decoder(), row((20,), 4)
    before = logits(model, batch)
    assert before.isfinite().all()
    batch["pos"] = batch["pos"] * 2
    assert not torch.allclose(before, logits(model, batch))


def test_only_distances_between_positions_matter() -> None:
    model, batch = decoder(), row((20,), 0)
    before = logits(model, batch)
    batch["pos"] = batch["pos"] + 31
    torch.testing.assert_close(before, logits(model, batch), atol=1e-4, rtol=1e-4)


def test_a_cache_gives_the_logits_of_the_full_forward() -> None:
    model, batch = decoder(), row((16,), 0)
    full = logits(model, batch)
    config = model.config
    cache = Cache(config.layers, config.kv_heads, config.head_dim, pad=[0], capacity=16)
    pieces = [(0, 5), (5, 6), (6, 10), *((i, i + 1) for i in range(10, 16))]
    stepped = []
    with torch.no_grad():
        for start, stop in pieces:
            stepped.append(model.logits(model(**part(batch, start, stop), cache=cache)))
    torch.testing.assert_close(torch.cat(stepped, dim=1), full, atol=1e-5, rtol=1e-5)


def test_missing_channels_are_absent_channels() -> None:
    model, batch = decoder(), row()
    everywhere = {name: embed.absent(side, batch["tokens"]) for name, side in CHANNELS.items()}
    assert torch.equal(logits(model, {**batch, "side": {}}), logits(model, {**batch, "side": everywhere}))
    assert not torch.equal(logits(model, {**batch, "side": {}}), logits(model, batch))


def test_id_channels_take_the_mean_over_the_present() -> None:
    module = embed.build(Side("ids", 3, 20), 8)
    torch.nn.init.normal_(module.weight)
    two, one, none = torch.tensor([[[4, -1, 7]], [[-1, 5, -1]], [[-1, -1, -1]]])
    torch.testing.assert_close(module(two[None]), (module.weight[4] + module.weight[7])[None, None] / 2)
    torch.testing.assert_close(module(one[None]), module.weight[5][None, None])
    assert module(none[None]).count_nonzero() == 0


def test_fresh_channels_change_nothing() -> None:
    torch.manual_seed(3)
    fresh = Decoder(ModelConfig.preset(2, vocab_size=VOCAB, channels=CHANNELS))
    batch = row()
    assert torch.equal(logits(fresh, batch), logits(fresh, {**batch, "side": {}}))


def test_recomputing_blocks_changes_no_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        model, batch = decoder(recompute=recompute), row()
        model.logits(model(**batch)).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_names_are_those_of_hugging_face() -> None:
    names = set(Decoder(ModelConfig.preset(1, vocab_size=10, channels=CHANNELS)).state_dict())
    layer = {
        f"model.layers.0.{part}.weight"
        for part in (
            *(f"self_attn.{p}" for p in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
            *(f"mlp.{p}" for p in ("gate_proj", "up_proj", "down_proj")),
            "input_layernorm",
            "post_attention_layernorm",
        )
    }
    sides = {f"model.embed_{name}.weight" for name in CHANNELS}
    assert names == layer | sides | {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
