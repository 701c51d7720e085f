"""Chamfer distances against the plain form, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modalities.pointcloud.chamfer import cd1, cd2, f_score, match


def clouds(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(3, 20, 3, generator=generator, dtype=dtype),
        torch.randn(3, 31, 3, generator=generator, dtype=dtype),
    )


def plain(a: Tensor, b: Tensor, power: int) -> Tensor:
    distance = (a[:, :, None] - b[:, None]).norm(dim=-1) ** power
    return (distance.amin(2).mean(1) + distance.amin(1).mean(1)) / 2


@pytest.mark.parametrize(("measure", "power"), [(cd1, 1), (cd2, 2)])
def test_values_and_gradients_are_those_of_the_plain_form(measure, power: int) -> None:  # type: ignore[no-untyped-def]
    one, two = clouds(), clouds()
    for a, b, value in ((*one, measure), (*two, lambda a, b: plain(a, b, power))):
        a.requires_grad_()
        b.requires_grad_()
        value(a, b).sum().backward()
    assert torch.allclose(measure(*one), plain(*two, power), atol=1e-9)
    for mine, wanted in zip(one, two, strict=True):
        assert torch.allclose(mine.grad, wanted.grad, atol=1e-6)  # type: ignore[arg-type]


def test_a_cloud_is_at_no_distance_from_itself_and_the_gradient_stays_finite() -> None:
    a = clouds()[0].requires_grad_()
    distance = cd1(a, a.detach().clone())
    distance.sum().backward()
    assert float(distance.detach().max()) < 1e-5
    assert a.grad is not None
    assert a.grad.abs().max() == 0


def test_known_distance() -> None:
    a = torch.tensor([[[0.0, 0, 0]]])
    b = torch.tensor([[[3.0, 4, 0], [0, 0, 1]]])
    assert float(cd1(a, b)) == pytest.approx((1 + (5 + 1) / 2) / 2)
    assert float(cd2(a, b)) == pytest.approx((1 + (25 + 1) / 2) / 2)
    assert float(f_score(a, b, 2.0)) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert float(f_score(a, b, 0.5)) == 0


def test_matches_carry_no_gradient_and_name_the_nearest() -> None:
    a, b = clouds()
    forth, back = match(a.requires_grad_(), b)
    assert not forth.is_floating_point()
    assert forth.equal(torch.cdist(a, b).argmin(2))
    assert back.equal(torch.cdist(a, b).argmin(1))
