"""Pictures of clouds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modalities.pointcloud.render import grid, render


def pixels(points: torch.Tensor, **how: float) -> np.ndarray:
    return np.asarray(render(points, 64, **how)).astype(int)


def ball(count: int = 1200) -> torch.Tensor:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return points / points.norm(dim=1, keepdim=True)


def coloured(picture: np.ndarray) -> np.ndarray:
    return picture.max(-1) - picture.min(-1) > 30


def test_a_ball_fills_the_middle_and_leaves_the_corners_white() -> None:
    picture = pixels(ball())
    assert picture.shape == (64, 64, 3)
    assert coloured(picture)[20:44, 20:44].mean() > 0.9
    assert picture[0, 0].tolist() == [255, 255, 255]


def test_unit_and_place_do_not_matter() -> None:
    far = ball().double() * 1000 + 5e4
    assert abs(pixels(ball()) - pixels(far)).mean() < 1


def test_up_is_up_and_what_is_near_covers_what_is_behind() -> None:
    generator = torch.Generator().manual_seed(1)
    foot = torch.rand(300, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.05])
    picture = pixels(torch.cat([foot, torch.tensor([[0.5, 0.5, 2.0]])]))
    rows = coloured(picture).sum(1)
    assert rows[32:].sum() > 5 * rows[:20].sum() > 0
    low, high = torch.tensor([0.0, 0, -0.02]), torch.tensor([0.0, 0, 0.02])
    plate = torch.rand(600, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.0]) - torch.tensor(
        [0.5, 0.5, 0]
    )
    both = torch.cat([plate + high, plate + low])  # orange above, blue below, seen from above
    middle = pixels(both, elevation=80)[26:38, 26:38].mean((0, 1))
    assert middle[0] > middle[2] + 40


@pytest.mark.parametrize("count", [1, 2, 3, 9000])
def test_any_number_of_points_gives_a_picture(count: int) -> None:
    picture = pixels(ball(count) if count > 1 else torch.tensor([[3.0, 3, 3]]))
    assert coloured(picture).any()


def test_pictures_go_into_a_grid() -> None:
    small = render(ball(50), 16)
    assert grid([small] * 5, 3).size == (48, 32)
