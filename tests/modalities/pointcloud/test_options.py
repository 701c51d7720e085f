"""Fronts, quantizers and paths of the point tokenizer in all their combinations, small."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modalities.pointcloud.config import LossConfig, TokenizerConfig
from modalities.pointcloud.network import TokenizerNet
from modalities.pointcloud.objective import CloudLoss
from modalities.pointcloud.tokenizer import PointTokenizer
from modalities.pointcloud.training import configured
from unitok.modality import BadItem, Codes
from unitok.strict import ConfigError
from unitok.testing import conforms

SHAPE = {"width": 48, "layers": 2, "heads": 2, "hidden": 64}
TINY: dict[str, Any] = {
    "inputs": 64, "points": 64, "anchors": 32, "queries": 8, "bands": 4, "width": 16, "heads": 2, "encoder_layers": 1,
    "decoder_layers": 1, "latents": 6, "groups": 16, "front_width": 48, "patches": 4, "neighbours": 4, "linear": False,
    "quantizer": {"kind": "fsq", "levels": (4, 3)},
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "point-pn": {"front": "point-pn"},
    "patches": {"front": "patches"},
    "language": {"front": "any2point", "source": "language", "source_shape": {**SHAPE, "grid": (9,)}},
    "vision": {
        "front": "any2point",
        "source": "vision",
        "source_shape": {**SHAPE, "grid": (4, 4), "patch": 4},
    },
    "vq": {"front": "point-pn", "quantizer": {"kind": "vq", "codes": 16, "dim": 4}},
    "bits": {"front": "point-pn", "quantizer": {"kind": "binary", "bits": 11}},
    "linear": {"front": "point-pn", "linear": True},
    "rgb": {"front": "point-pn", "rgb": True},
    "rgb, linear": {"front": "patches", "linear": True, "rgb": True},
}


def built(**changes: Any) -> PointTokenizer:
    return PointTokenizer(weights=None, **{**TINY, **changes})


def coloured(clouds: list[Tensor]) -> list[Tensor]:
    return [torch.cat([cloud, cloud.sigmoid()], 1) for cloud in clouds]


def shuffled(cloud: Tensor) -> Tensor:
    return cloud[torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_keeps_the_contract(way: str, furniture: list[Tensor]) -> None:
    few = [furniture[0][:300], furniture[1][:5] * 1e3]
    if "rgb" in way:
        few = coloured(few)
    conforms(built(**WAYS[way]), few, invariances=[shuffled], rebuild=lambda: built(**WAYS[way]))


@pytest.mark.parametrize("way", ["point-pn", "vision", "vq", "bits", "linear", "rgb, linear"])
def test_every_parameter_that_trains_is_reached_and_the_loss_falls(way: str, furniture: list[Tensor]) -> None:
    torch.manual_seed(0)
    net = TokenizerNet(TokenizerConfig(**{**TINY, **WAYS[way]})).train()
    loss = CloudLoss(LossConfig(squared=10, anchors=0.5, labels=0.1), net.quantizer.dim, classes=3)
    clouds = coloured(furniture) if "rgb" in way else furniture
    batch = torch.stack([cloud[:192] for cloud in clouds])
    trained = [p for p in [*net.parameters(), *loss.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3)
    losses = []
    for _ in range(12):
        torch.manual_seed(1)  # the same prefixes
        step = loss(net(batch), torch.arange(3))
        optimizer.zero_grad()
        step.loss.backward()
        assert all(p.grad is not None for p in trained)
        optimizer.step()
        losses.append(float(step.loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert {"cd1", "labels"} < set(step.figures) or way != "point-pn"


def test_the_frozen_transformer_stays_as_it_is() -> None:
    net = TokenizerNet(TokenizerConfig(**{**TINY, **WAYS["language"]}))
    held = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert held
    assert all(".layers." in name or ".opening." in name for name in held)


def test_a_front_with_a_source_saves_and_loads(furniture: list[Tensor], tmp_path: Any) -> None:
    from modalities.common.weights import save_weights

    one = built(**WAYS["language"])
    save_weights(tmp_path / "w.safetensors", one.net, one.config.model_dump(mode="json"), half=False)
    two = PointTokenizer(tmp_path / "w.safetensors")
    assert two.spec.fingerprint == one.spec.fingerprint
    assert two.encode(furniture)[0].ids.equal(one.encode(furniture)[0].ids)


def test_prefixes_decode_alike_in_company_and_first_points_are_one_of_each_patch() -> None:
    torch.manual_seed(0)
    net = TokenizerNet(TokenizerConfig(**{**TINY, "front": "point-pn"})).eval()
    with torch.no_grad():
        z_q = torch.rand(2, 6, 2) * 2 - 1
        both = net.made(z_q, torch.tensor([2, 6]))
        assert torch.allclose(both.points[:1], net.decode(z_q[:1, :2]), atol=1e-6)
        assert both.anchors is not None
        offsets = both.points[:, :8] - both.anchors
    assert offsets.abs().max() <= net.config.reach
    assert not torch.allclose(both.points[0], both.points[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "quantizer",
    [
        {"kind": "vq", "codes": 64, "dim": 8},
        {"kind": "binary", "bits": 12},
        {"kind": "fsq", "levels": (4, 4)},
    ],
)
def test_another_quantizer_takes_the_place_of_a_presets_whole(quantizer: dict[str, Any]) -> None:
    found = configured({"preset": "small", "quantizer": quantizer, "inputs": 512})
    assert found == TokenizerConfig(
        **{**TokenizerConfig.preset("small").model_dump(), "quantizer": quantizer, "inputs": 512}
    )
    assert found.quantizer is not None
    assert found.quantizer.kind == quantizer["kind"]


def test_presets_have_the_sizes_that_they_say() -> None:
    with torch.device("meta"):
        count = {
            name: sum(p.numel() for p in TokenizerNet(TokenizerConfig.preset(name)).parameters())
            for name in ("small", "base")
        }
    assert 3.5e6 < count["small"] < 5.5e6
    assert 15e6 < count["base"] < 30e6
    assert TokenizerNet(TokenizerConfig.preset("small")).quantizer.size == 12_800
    with pytest.raises(ValueError, match="small, base"):
        TokenizerConfig.preset("large")


def test_options_that_came_later_do_not_move_fingerprints() -> None:
    told = TokenizerConfig().told()
    assert "front" not in told
    assert told["width"] == 96
    assert TokenizerConfig(front="point-pn").told()["front"] == "point-pn"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantizer": {"kind": "kl"}}, "has no codes"),
        ({"quantizer": {"kind": "vq"}, "linear": True}, "symmetric fsq"),
        ({"queries": 7}, "multiple of queries"),
        ({"front": "point-pn", "groups": 32}, "at least 128 points"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(**changes)


def test_colours_come_back_in_range_and_bad_ones_are_refused(furniture: list[Tensor]) -> None:
    system = built(**WAYS["rgb"])
    red = torch.cat([furniture[0], torch.tensor([1.0, 0, 0]).expand(1024, 3)], 1)
    made = system.decode(system.encode([red]))[0]
    assert made.shape == (64, 6)
    assert 0 <= float(made[:, 3:].min()) <= float(made[:, 3:].max()) <= 1
    latents = [
        system.latents(system.prepared(0, c)[0][None]) for c in (red, red.index_fill(1, torch.tensor([3]), 0))
    ]
    assert not torch.allclose(*latents, atol=1e-3)
    with pytest.raises(BadItem, match=r"in \[0, 1\]"):
        system.encode([red * 2])
    with pytest.raises(BadItem, match="colours are asked for"):
        system.encode([red[:, :3]])


def test_codes_of_parts_are_checked(furniture: list[Tensor]) -> None:
    system = built(**WAYS["bits"])
    ids = system.encode(furniture[:1])[0].ids
    assert ids.shape == (6, 2)
    assert system.spec.parts == (256, 8)
    with pytest.raises(ValueError, match="outside range"):
        system.decode([Codes(ids + 8)])
    with pytest.raises(ValueError, match="leave no room"):
        built(**WAYS["bits"], placed=True)
