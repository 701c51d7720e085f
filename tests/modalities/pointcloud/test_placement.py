"""Clouds with place and size in their codes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modalities.pointcloud.placement import BINS, CODES, Placement
from modalities.pointcloud.sample import unit_sphere
from modalities.pointcloud.tokenizer import PointTokenizer
from unitok.modality import BadCodes, BadItem, Codes
from unitok.testing import conforms

metres = st.floats(-8, 8, width=32)


@given(st.tuples(metres, metres, metres), st.floats(0.015625, 16, width=32))
@settings(max_examples=200, deadline=None)
def test_decoded_places_are_within_half_a_bin(centre: tuple[float, ...], radius: float) -> None:
    scale = Placement()
    codes = scale.encode(torch.tensor(centre), torch.tensor(radius))
    assert 0 <= int(codes.min()) <= int(codes.max()) < BINS
    where, size = scale.decode(codes)
    assert (where - torch.tensor(centre)).abs().max() <= scale.width / 2 + 1e-5
    assert max(size / radius, radius / size) <= scale.ratio**0.5 + 1e-6
    assert scale.encode(where, torch.tensor(size)).equal(codes)


@given(st.lists(st.integers(0, BINS - 1), min_size=CODES, max_size=CODES))
@settings(max_examples=100, deadline=None)
def test_codes_survive_the_way_round(bins: list[int]) -> None:
    scale = Placement(extent=3.0)
    where, size = scale.decode(torch.tensor(bins))
    assert scale.encode(where, torch.tensor(size, dtype=torch.float64)).tolist() == bins


@pytest.fixture(scope="module")
def placed() -> PointTokenizer:
    return PointTokenizer(placed=True)


def test_a_placed_cloud_comes_back_in_metres(placed: PointTokenizer, furniture: list[Tensor]) -> None:
    room = torch.tensor([[2.0, -3.1, 0.4], [-7.5, 0, 0], [0.0, 6, 1]])
    sizes = (0.45, 1.3, 0.08)
    items = [cloud * size + at for cloud, size, at in zip(furniture, sizes, room, strict=True)]
    for item, made in zip(items, placed.decode(placed.encode(items)), strict=True):
        one, two = unit_sphere(item), unit_sphere(made)
        assert (one.centre - two.centre).abs().max() <= 8 / BINS + 1e-4
        assert float(two.radius / one.radius) == pytest.approx(1, abs=0.016)


def test_the_shape_s_codes_are_those_of_unplaced_ones(
    placed: PointTokenizer, furniture: list[Tensor]
) -> None:
    bare = PointTokenizer()
    for one, two in zip(bare.encode(furniture), placed.encode(furniture), strict=True):
        assert two.ids[CODES:].equal(one.ids)
    assert placed.spec.fingerprint != bare.spec.fingerprint
    assert placed.spec.fingerprint != PointTokenizer(placed=True, extent=4).spec.fingerprint


def test_placed_clouds_keep_the_contract(placed: PointTokenizer, furniture: list[Tensor]) -> None:
    conforms(placed, furniture, rebuild=lambda: PointTokenizer(placed=True))


def test_what_lies_outside_is_refused(placed: PointTokenizer, furniture: list[Tensor]) -> None:
    with pytest.raises(BadItem, match=r"within 8\.0 metres"):
        placed.encode([furniture[0] + 9])
    with pytest.raises(BadItem, match="radius 0.0009985"):
        placed.encode([furniture[0] * 0.001])
    with pytest.raises(ValueError, match="positive lengths"):
        PointTokenizer(placed=True, extent=-1)
    ids = placed.encode(furniture[:1])[0].ids
    with pytest.raises(BadCodes, match="is no place"):
        placed.decode([Codes(ids.index_fill(0, torch.tensor([0]), 3))])
    with pytest.raises(BadCodes, match="5 to 68"):
        placed.decode([Codes(ids[:4])])


def test_what_is_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match="placed clouds lie within"):
        Placement().encode(torch.tensor([0.0, float("nan"), 0.0]), torch.tensor(1.0))
    for bins in ([0, 0, 0, BINS], [-1, 0, 0, 0], [0, 0, 0]):
        with pytest.raises(ValueError, match="give 4 numbers from 0 to 255"):
            Placement().decode(torch.tensor(bins))
