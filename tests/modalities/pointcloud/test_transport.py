"""Transport maps and the linear path that is made of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modalities.pointcloud.chamfer import cd1
from modalities.pointcloud.linear import TransportPath
from modalities.pointcloud.transport import RADIUS, SHARP, sphere, transport, transports


def boxes(count: int, points: int = 96) -> Tensor:
    """Surfaces of random boxes, about the unit sphere's size."""
    generator = torch.Generator().manual_seed(0)
    sides = 0.2 + torch.rand(count, 1, 3, generator=generator)
    places = 2 * torch.rand(count, points, 3, generator=generator) - 1
    axis = torch.randint(3, (count, points, 1), generator=generator)
    places = places.scatter(2, axis, places.gather(2, axis).sign())
    return 0.5 * places * sides


def test_the_sphere_is_even_and_so_are_its_first_points() -> None:
    points = sphere(200)
    assert torch.allclose(points.norm(dim=1), torch.full((200,), RADIUS), atol=1e-6)
    for count in (50, 100, 200):
        some = points[:count]
        gaps = torch.cdist(some, some).fill_diagonal_(9).amin(1)
        even = (4 * torch.pi * RADIUS**2 / count) ** 0.5
        assert gaps.min() > 0.5 * even
        assert gaps.max() < 1.6 * even


def test_a_sharp_map_is_the_best_assignment() -> None:
    reference = sphere(32)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    moved = reference * torch.tensor(
        [1.0, 0.6, 0.3]
    )  # the gradient of a convex function: this map is optimal
    found = transport(moved[order], reference, (0.1, 0.02, 0.004, 0.0008))
    assert (found - moved).norm(dim=1).max() < 0.03


def test_maps_do_not_depend_on_company_or_on_the_order_of_points() -> None:
    clouds, reference = boxes(3), sphere(40)
    maps = transports(clouds, reference)
    assert maps[1].equal(transport(clouds[1], reference))
    shuffled = transport(clouds[1].flip(0), reference)
    assert torch.allclose(shuffled, maps[1], atol=1e-4)


def test_a_map_keeps_the_mean_and_lies_on_the_cloud() -> None:
    cloud, reference = boxes(1)[0], sphere(48)
    found = transport(cloud, reference, SHARP)
    assert torch.allclose(found.mean(0), cloud.mean(0), atol=0.02)
    assert float(cd1(found[None], cloud[None])) < 0.1
    assert transport(torch.ones(1, 3), reference).equal(torch.ones(48, 3))


@pytest.fixture(scope="module")
def fitted() -> tuple[TransportPath, Tensor]:
    path = TransportPath(24, 48, [1, 1, 2, 4])
    clouds = boxes(60)
    maps = path.maps(clouds)
    path.fit_encoder(maps, torch.tensor([9, 9, 5, 5, 3, 3, 3, 3]), widen=1.2)
    path.fit_decoder(path.encode(maps).detach(), transports(clouds, path.reference).flatten(1))
    return path, clouds


def test_the_linear_path_reconstructs_and_prefixes_get_better(fitted: tuple[TransportPath, Tensor]) -> None:
    path, clouds = fitted
    with torch.no_grad():
        values = path.encode(path.maps(clouds))
        errors = []
        for tokens in (0, 1, 2, 4):
            kept = values * (torch.arange(4) < tokens)[:, None]
            errors.append(float(cd1(path.decode(kept), clouds).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.75 * errors[0]


def test_values_fill_their_range_and_unused_channels_stay_zero(fitted: tuple[TransportPath, Tensor]) -> None:
    path, clouds = fitted
    with torch.no_grad():
        values = path.encode(path.maps(clouds))  # [60, 4, 4]
    assert (values.abs() <= 1).float().mean() > 0.95
    assert values[:, 0, 0].abs().max() > 0.3
    assert values[:, 0, 1:].abs().max() == 0
    assert values[:, 2, 2:].abs().max() == 0


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="30 anchors must be among 20 points"):
        TransportPath(30, 20, [1])
    with pytest.raises(ValueError, match="7 components cannot exceed the 6"):
        TransportPath(2, 4, [7])
