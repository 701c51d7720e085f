"""The map between numbers of codes and resolutions; `test_detailflow_released` compares it with the published ones."""

from __future__ import annotations

import pytest
import torch

from modalities.image.detail import Detail, group_causal, resized

SMALL = Detail(size=64, tokens=32, group=8, patch=8)


def test_few_codes_show_little_and_all_codes_everything():
    assert SMALL.lengths == (1, 2, 3, 4, 5, 6, 7, 8, 16, 24, 32)
    resolutions = [SMALL.resolution(n) for n in SMALL.lengths]
    assert resolutions == sorted(resolutions)
    assert (resolutions[0], resolutions[-1]) == (1, 64)
    for count in SMALL.lengths:
        side = SMALL.side(count)
        assert side % 8 == 0
        assert 0 <= side - SMALL.resolution(count) < 8
    even = Detail(size=64, tokens=32, power=1.0)
    assert even.resolution(16) < SMALL.resolution(16)  # a larger power shows more early


def test_the_number_of_codes_for_a_side_is_the_nearest():
    for side, count in SMALL.counts.items():
        assert SMALL.count(side) == count
        others = [n for n in SMALL.lengths if SMALL.side(n) == side]
        assert abs(SMALL.resolution(count) - side) == min(abs(SMALL.resolution(n) - side) for n in others)
    with pytest.raises(ValueError, match=r"no number of codes is painted at side 60: there are 8, "):
        SMALL.count(60)
    with pytest.raises(ValueError, match="9 codes: a picture has 1 to 8, or a multiple of 8 up to 32"):
        SMALL.resolution(9)


def test_degraded_pictures_hold_no_more_detail_than_their_resolution():
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert SMALL.degraded(pictures, 32) is pictures
    one = SMALL.degraded(pictures, 1)
    assert one.shape == (2, 3, 8, 8)
    torch.testing.assert_close(one, pictures.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8))
    count = 16
    some, resolution = SMALL.degraded(pictures, count), SMALL.resolution(count)
    assert some.shape[-1] == SMALL.side(count)
    areas = torch.nn.functional.adaptive_avg_pool2d(pictures, resolution)
    torch.testing.assert_close(some, resized(areas, SMALL.side(count)))
    assert some.std() < pictures.std()


def test_codes_see_earlier_groups_and_their_own():
    mask = group_causal(6, 2, before=1)
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1],
    ]
