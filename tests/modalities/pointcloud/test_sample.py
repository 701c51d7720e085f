"""Choosing points, against brute force."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalities.pointcloud.sample import (
    canonical,
    farthest,
    gather,
    group,
    nearest,
    stride,
    turns,
    unit_sphere,
)


def cloud(seed: int, count: int) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 99), st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_farthest_points_are_those_of_the_definition(seed: int, count: int) -> None:
    points = cloud(seed, 20).double()
    chosen = [int((points - points.mean(0)).norm(dim=1).argmax())]
    while len(chosen) < count:
        gaps = torch.cdist(points, points[chosen]).amin(1)
        chosen.append(int(gaps.argmax()))
    assert farthest(points[None], count)[0].tolist() == chosen


def test_farthest_points_of_a_batch_are_those_of_each_and_prefixes_hold() -> None:
    batch = torch.stack([cloud(1, 50), cloud(2, 50)])
    both = farthest(batch, 12)
    assert both[1].equal(farthest(batch[1:], 12)[0])
    assert both[:, :5].equal(farthest(batch, 5))


@pytest.mark.parametrize("count", [0, 4])
def test_impossible_numbers_of_points_are_refused(count: int) -> None:
    points = cloud(0, 3)[None]
    with pytest.raises(ValueError, match=f"{count} .*1 to 3"):
        farthest(points, count)
    with pytest.raises(ValueError, match=f"{count} .*1 to 3"):
        nearest(points, points, count)


def test_nearest_are_those_of_all_distances() -> None:
    queries, points = cloud(3, 7)[None], cloud(4, 40)[None]
    wanted = torch.cdist(queries.double(), points.double()).argsort(-1)[:, :, :6]
    assert nearest(queries, points, 6).equal(wanted)


def test_gather_and_group_take_the_rows_that_they_say() -> None:
    points = torch.stack([cloud(5, 30), cloud(6, 30)])
    index = torch.tensor([[[0, 3], [2, 2]], [[29, 1], [4, 0]]])
    assert gather(points, index)[1, 0, 1].equal(points[1, 1])
    centres, around = group(points, 4, 5)
    assert around.shape == (2, 4, 5, 3)
    assert around[:, :, 0].abs().max() == 0  # a centre is its own nearest neighbour
    back = around + centres[:, :, None]
    gaps = torch.cdist(back[0].reshape(-1, 3).double(), points[0].double())
    assert gaps.amin(1).max() < 1e-6


def test_unit_sphere_moves_the_mean_and_the_farthest_point() -> None:
    points = cloud(7, 64) * torch.tensor([1.0, 5.0, 0.1]) + 100
    unit = unit_sphere(points)
    assert unit.points.mean(0).abs().max() < 1e-6
    assert float(unit.points.norm(dim=1).max()) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(unit.points * unit.radius + unit.centre, points, atol=1e-4)
    assert unit_sphere(torch.ones(3, 3)).points.equal(torch.zeros(3, 3))


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_canonical_order_does_not_depend_on_the_given_one(seed: int) -> None:
    points = unit_sphere(cloud(seed, 40).mul(2).round().div(2)).points  # with doubles and ties
    shuffled = points[torch.randperm(40, generator=torch.Generator().manual_seed(seed))]
    assert canonical(points).equal(canonical(shuffled))
    assert canonical(points).sort(0).values.equal(points.sort(0).values)


def test_the_canonical_order_keeps_neighbours_together() -> None:
    points = unit_sphere(cloud(8, 500)).points
    step = (canonical(points).diff(dim=0)).norm(dim=1).mean()
    assert step < 0.5 * points.diff(dim=0).norm(dim=1).mean()


def test_stride_thins_evenly_and_repeats_what_is_too_little() -> None:
    points = torch.arange(10.0)[:, None].expand(-1, 3)
    assert stride(points, 5)[:, 0].tolist() == [0, 2, 4, 6, 8]
    assert stride(points, 20)[:, 0].tolist() == [i // 2 for i in range(20)]
    assert stride(points, 10).equal(points)


def test_turns_go_from_x_to_y_about_z() -> None:
    turn = turns(torch.tensor([math.pi / 2]))[0]
    assert torch.allclose(torch.tensor([[1.0, 0, 7]]) @ turn, torch.tensor([[0.0, 1, 7]]), atol=1e-6)
