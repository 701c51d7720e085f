"""Laws of rotations and sine tables."""

from __future__ import annotations

import pytest
import torch

from modalities.common.positions import Turn, angles, grid, sincos, sincos_2d


@pytest.mark.parametrize("pairs", ["neighbours", "halves"])
def test_scores_depend_on_the_distance_alone(pairs):
    q, k = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def score(i: int, j: int) -> float:
        turned = [Turn(angles(torch.tensor([[float(at)]]), (16,)), pairs)(x) for at, x in ((i, q), (j, k))]
        return float((turned[0] * turned[1]).sum())

    assert score(3, 7) == pytest.approx(score(10, 14), abs=1e-4)
    assert score(3, 7) != pytest.approx(score(3, 8), abs=1e-4)


def test_a_turn_keeps_lengths_and_leaves_the_rest_of_the_tokens():
    heads = torch.randn(2, 3, 9, 64)
    turned = Turn(angles(grid(2, 3), (32, 32)))(heads)
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))
    assert turned[:, :, 6:].equal(heads[:, :, 6:])
    assert turned[:, :, 0].equal(heads[:, :, 0])  # the corner does not turn
    torch.testing.assert_close(turned[:, :, 1, :32], heads[:, :, 1, :32])  # row 0: the row's channels stay
    assert not turned[:, :, 1, 32:].allclose(heads[:, :, 1, 32:])


def test_angles_want_one_even_number_of_channels_for_each_axis():
    with pytest.raises(ValueError, match="one even number for each axis"):
        angles(grid(2, 2), (8, 28, 28))


def test_sine_tables():
    table = sincos(5, 8)
    assert table.shape == (5, 8)
    assert table[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert table[1, 0] == pytest.approx(torch.sin(torch.tensor(1.0)).item())
    assert sincos(5, 8, cosine_first=True)[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    both = sincos_2d(2, 3, 8)
    assert both[4, :4].equal(sincos(3, 4)[1])  # cell (1, 1): the column first
    assert both[4, 4:].equal(sincos(2, 4)[1])
