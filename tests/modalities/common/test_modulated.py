"""Blocks whose branches are modulated by a condition."""

from __future__ import annotations

import torch

from modalities.common.blocks import Block, Modulated


def test_reading_some_tokens_of_a_modulated_block_gives_what_all_would() -> None:
    torch.manual_seed(0)
    block, x = Block(8, 2, affine=False, bias=False, mlp="swiglu", hidden=12), torch.randn(2, 5, 8)
    for shape in ((2, 1, 8), (1, 5, 8)):
        modulation = Modulated(*torch.randn(6, *shape))
        whole = block(x, modulation=modulation)
        torch.testing.assert_close(block(x, modulation=modulation, read=slice(1, 4)), whole[:, 1:4])


def test_a_key_with_the_logarithm_of_a_number_stands_for_so_many() -> None:
    torch.manual_seed(0)
    block, x = Block(8, 2), torch.randn(1, 3, 8)
    many = torch.cat([x, x[:, 2:], x[:, 2:]], dim=1)  # the last token three times
    weight = torch.tensor([1.0, 1.0, 3.0]).log()
    torch.testing.assert_close(block(x, mask=weight.view(1, 1, 1, 3)), block(many)[:, :3])
