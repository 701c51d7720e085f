"""The embedding of times."""

from __future__ import annotations

import math

import torch

from modalities.common.times import TimeEmbedding


def test_cosines_then_sines_of_falling_frequencies() -> None:
    seen: list[torch.Tensor] = []
    embed = TimeEmbedding(6, 4, theta=100.0, scale=10.0)
    embed.up.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    assert embed(torch.tensor([0.0, 0.3])).shape == (2, 6)
    wanted = [[1, 1, 0, 0], [math.cos(3), math.cos(0.3), math.sin(3), math.sin(0.3)]]
    torch.testing.assert_close(seen[0], torch.tensor(wanted, dtype=torch.float32))
