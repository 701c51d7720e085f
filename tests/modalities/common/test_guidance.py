from __future__ import annotations

import torch

from modalities.common.guidance import Projected, guided


def test_a_scale_of_one_is_no_guidance():
    one, two = torch.randn(2, 3, 4, 4)
    assert torch.allclose(guided(one, two, 1.0), one, atol=1e-6)
    assert Projected(1.0)(one, two).equal(one)


def test_without_bound_and_projection_it_is_plain_guidance():
    one, two = torch.randn(2, 3, 4, 4)
    plain = Projected(7.5, momentum=0.0, most=0.0, parallel=1.0)
    assert torch.allclose(plain(one, two), guided(one, two, 7.5), atol=1e-5)


def test_what_is_added_stands_at_right_angles_and_is_bounded():
    one, two = torch.randn(2, 3, 40)
    added = (Projected(2.0)(one, two) - one).flatten(1).double()
    assert ((added * one.double()).sum(1).abs() < 1e-4).all()
    assert (added.norm(dim=1) <= 2.5 + 1e-6).all()


def test_momentum_keeps_to_each_picture_and_begins_anew():
    one, two, three, four = torch.randn(4, 2, 9)
    both = Projected(3.0)
    first, second = both(one, two), both(three, four)
    for row in range(2):
        alone = Projected(3.0)
        here = slice(row, row + 1)
        assert torch.allclose(alone(one[here], two[here]), first[here], atol=1e-6)
        assert torch.allclose(alone(three[here], four[here]), second[here], atol=1e-6)
    assert not torch.allclose(Projected(3.0)(three, four), second)
