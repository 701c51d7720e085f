"""`pointcloud.any2point`: the contract, golden codes, fidelity of the shipped weights, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from modalities.common.weights import WeightsMismatch, read_weights, save_weights
from modalities.pointcloud.tokenizer import SHIPPED, PointTokenizer
from unitok.modality import BadCodes, BadItem, Codes
from unitok.testing import conforms

GOLDEN = Path(__file__).parents[2] / "golden" / "any2point_furniture.json"
TINY = {
    "inputs": 48, "points": 64, "anchors": 16, "stages": ((1, (12,)), (2, (4, 3)), (1, (3, 2, 2))),
    "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "patches": 4, "neighbours": 4, "bands": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def any2point() -> PointTokenizer:
    return PointTokenizer()


def tiny() -> PointTokenizer:
    return PointTokenizer(weights=None, **TINY)  # type: ignore[arg-type]


def shuffled(cloud: Tensor) -> Tensor:
    return cloud[torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))]


def test_the_shipped_tokenizer_keeps_the_contract(any2point: PointTokenizer, furniture: list[Tensor]) -> None:
    conforms(any2point, furniture, invariances=[shuffled], rebuild=PointTokenizer)


def test_random_weights_keep_the_contract(furniture: list[Tensor]) -> None:
    odd = [furniture[0][:1024:300], furniture[1][:7] * 1e4, furniture[2] + 50]
    conforms(tiny(), [*furniture, *odd], invariances=[shuffled], rebuild=tiny)


def test_golden_codes(any2point: PointTokenizer, furniture: list[Tensor]) -> None:
    """Positions whose value lies within rounding noise of another code may differ on another processor."""
    golden = json.loads(GOLDEN.read_text())
    assert any2point.spec.fingerprint == golden["fingerprint"]
    for cloud, codes, wanted in zip(furniture, any2point.encode(furniture), golden["codes"], strict=True):
        latents = any2point.latents(any2point.prepared(0, cloud)[0][None])
        sure = any2point.net.quantizer.margin(latents)[0] > 0.02  # of a level
        assert sure.float().mean() > 0.7
        assert codes.ids[sure].tolist() == torch.tensor(wanted)[sure].tolist()


def test_shipped_weights_beat_their_lines() -> None:
    made = json.loads((SHIPPED / "furniture.json").read_text())["made"]
    lines, found = made["baselines"], made["fidelity"]
    assert found["cd1"] < 0.074
    assert found["cd1"] < lines["64 anchors on a 32^3 grid"]
    assert found["cd1"] < found["cd1_16"] < found["cd1_4"]
    assert found["cd1"] < 0.8 * found["cd1_4"]
    assert made["codes"]["usage"] > 0.5
    assert made["codes"]["position_nats"] < made["codes"]["unigram_nats"] - 0.2
    assert (SHIPPED / "furniture.safetensors").stat().st_size < 3_000_000


def test_heldout_objects_come_back_and_more_codes_bring_them_nearer(
    any2point: PointTokenizer, heldout: list[Tensor]
) -> None:
    assert len(heldout) > 20
    codes = any2point.encode(heldout)
    used = torch.cat([each.ids for each in codes]).unique()
    assert len(used) > any2point.spec.size / 2
    mean = {}
    for count in (4, 16, 64):
        made = any2point.decode([Codes(each.ids[:count]) for each in codes])
        mean[count] = np.mean([any2point.compare(a, b)["cd1"] for a, b in zip(heldout, made, strict=True)])
    assert mean[64] < mean[16] < mean[4]
    assert mean[64] < 0.07
    other = [any2point.compare(a, b)["cd1"] for a, b in zip(heldout, heldout[1:], strict=False)]
    assert mean[64] < np.mean(other) / 3


def test_fewer_tokens_are_a_prefix(any2point: PointTokenizer, furniture: list[Tensor]) -> None:
    short = PointTokenizer(budget=8)
    assert short.spec.fingerprint == any2point.spec.fingerprint
    assert short.encode(furniture)[0].ids.equal(any2point.encode(furniture)[0].ids[:8])
    with pytest.raises(ValueError, match="1 to 64"):
        PointTokenizer(budget=65)


def test_the_first_decoded_points_cover_the_whole(any2point: PointTokenizer, furniture: list[Tensor]) -> None:
    cloud = any2point.decode(any2point.encode(furniture[:1]))[0]
    assert cloud.shape == (1024, 3)
    assert float(cloud.norm(dim=1).max()) == pytest.approx(1, abs=1e-5)
    gaps = torch.cdist(cloud, cloud[:256]).amin(1)
    assert gaps.mean() < 0.08


def test_prefixes_of_different_lengths_decode_together(
    any2point: PointTokenizer, furniture: list[Tensor]
) -> None:
    codes = any2point.encode(furniture)
    mixed = [Codes(codes[0].ids[:3]), codes[1], Codes(codes[2].ids[:20])]
    for together, one in zip(any2point.decode(mixed), mixed, strict=True):
        assert torch.allclose(together, any2point.decode([one])[0], atol=1e-5)


BAD = {
    "no points": (torch.zeros(0, 3), "without points"),
    "flat": (torch.zeros(4, 2), "shape"),
    "nan": (torch.tensor([[0.0, 0, 0], [1, torch.nan, 0]]), "1 of 2 points"),
    "inf": (torch.tensor([[0.0, 0, torch.inf]]), "not finite"),
    "one place": (torch.ones(5, 3), "extent"),
    "huge": (torch.tensor([[3e38, 0, 0], [-3e38, 0, 0]]), ""),
    "path": ("chair.ply", "load"),
    "nothing": (None, "cloud"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_items_are_named_with_their_place(name: str, furniture: list[Tensor]) -> None:
    item, reason = BAD[name]
    model = tiny()
    if name == "huge":  # as large as float32 allows: still a cloud
        assert len(model.encode([item])[0]) == 4
        return
    with pytest.raises(BadItem, match=reason) as caught:
        model.encode([furniture[0], item])
    assert caught.value.index == 1


@pytest.mark.parametrize("ids", [[], [240], [-1], [0] * 65, [[1, 2]]])
def test_bad_codes_are_refused(any2point: PointTokenizer, ids: list[int]) -> None:
    with pytest.raises(BadCodes, match="item 1"):
        any2point.decode([Codes(torch.tensor([5])), Codes(torch.tensor(ids, dtype=torch.long))])


def test_every_code_decodes(any2point: PointTokenizer) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [Codes(torch.randint(240, (64,), generator=generator)) for _ in range(8)]
    assert all(bool(cloud.isfinite().all()) for cloud in any2point.decode(drawn))


@pytest.mark.parametrize("suffix", [".ply", ".xyz", ".npy", ".npz", ".obj"])
def test_files_round_trip(
    any2point: PointTokenizer, furniture: list[Tensor], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"chair{suffix}"
    any2point.save(furniture[0], path)
    assert any2point.load(path).equal(furniture[0])
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"chair{suffix}: "):
        any2point.load(path)


def test_comparing(any2point: PointTokenizer, furniture: list[Tensor]) -> None:
    same = any2point.compare(furniture[0], shuffled(furniture[0]) * 3 + 1)
    assert same["cd1"] < 1e-4
    assert same["f_0.05"] == pytest.approx(1)
    other = any2point.compare(furniture[0], furniture[1])
    assert other["cd1"] > 0.05
    assert other["f_0.05"] < 0.9


def test_variants_start_with_the_item_and_its_mirror_image(
    any2point: PointTokenizer, furniture: list[Tensor]
) -> None:
    found = any2point.variants(furniture[0], 8)
    assert len(found) == 8
    assert found[0].equal(furniture[0])
    assert found[1][:, 0].equal(-furniture[0][:, 0])
    assert any2point.variants(furniture[0], 1)[0].equal(furniture[0])
    for one in found:
        assert torch.allclose(one[:, 2], furniture[0][:, 2])
        assert torch.allclose(one.norm(dim=1), furniture[0].norm(dim=1), atol=1e-5)
    ids = {tuple(codes.ids.tolist()) for codes in any2point.encode(found)}
    assert len(ids) == 8


def test_pictures_and_labels(any2point: PointTokenizer, furniture: list[Tensor]) -> None:
    assert any2point.show(furniture[0]).size == (256, 256)
    assert any2point.label(furniture[0]) == "cloud of 1024 points"


def test_weights_are_found_or_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="furniture"):
        PointTokenizer("no such")
    with pytest.raises(TypeError, match="width"):
        PointTokenizer("furniture", width=8)
    config, state = read_weights(SHIPPED / "furniture.safetensors")
    model = tiny()
    save_weights(tmp_path / "tiny.safetensors", model.net, model.config.model_dump(mode="json"), half=False)
    again = PointTokenizer(tmp_path / "tiny.safetensors")
    assert again.spec.fingerprint == model.spec.fingerprint
    save_weights(tmp_path / "wrong.safetensors", model.net, config)
    with pytest.raises(WeightsMismatch):
        PointTokenizer(tmp_path / "wrong.safetensors")
