from __future__ import annotations

import torch

from modalities.common.nested import draw
from unitok.budget import shares


def test_lengths_are_drawn_by_their_shares():
    torch.manual_seed(0)
    lengths = (1, 2, 4, 8)
    found = draw("pow2", lengths, 20_000, full=0.5)
    assert found.dtype == torch.int64
    assert set(found.tolist()) == set(lengths)
    for length, share in zip(lengths, shares("pow2", lengths, 0.5), strict=True):
        assert abs(float((found == length).float().mean()) - share) < 0.02


def test_draws_repeat_with_the_seed():
    torch.manual_seed(7)
    one = draw("log", range(1, 65), 16)
    torch.manual_seed(7)
    assert draw("log", range(1, 65), 16).equal(one)
