"""Convolutional pieces: shapes, layouts, and what each one computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from modalities.image.conv import (
    ConvDecoder,
    ConvEncoder,
    Double,
    Halve,
    MapAttention,
    Residual,
    StyleNorm,
    Unfold,
    moments,
)

SMALL = (32, 64, 64)


def test_shapes_there_and_back():
    torch.manual_seed(0)
    features = ConvEncoder(8, SMALL)(torch.rand(2, 3, 16, 24))
    assert features.shape == (2, 8, 4, 6)
    assert ConvDecoder(8, SMALL)(features).shape == (2, 3, 16, 24)


@pytest.mark.parametrize("own", [False, True])
def test_a_block_that_changes_channels_has_a_shortcut(own):
    torch.manual_seed(0)
    block, x = Residual(64, 32, bias=not own, own=own), torch.randn(1, 64, 4, 4)
    h = block.conv_2(F.silu(block.norm_2(block.conv_1(F.silu(block.norm_1(x))))))
    assert block.shortcut is not None
    torch.testing.assert_close(block(x), h + block.shortcut(h if own else x))
    assert (block.conv_1.bias is None) == own
    same = Residual(32, 32)
    assert same.shortcut is None


def test_halving_adds_zeros_below_and_on_the_right():
    torch.manual_seed(0)
    halve, x = Halve(3, 4), torch.randn(1, 3, 6, 6)
    padded = torch.cat([torch.cat([x, torch.zeros(1, 3, 6, 1)], 3), torch.zeros(1, 3, 1, 7)], 2)
    torch.testing.assert_close(halve(x), F.conv2d(padded, halve.weight, halve.bias, stride=2))


def test_the_four_pixels_are_the_four_quarters_of_the_channels():
    torch.manual_seed(0)
    unfold, x = Unfold(3, 5), torch.randn(2, 3, 4, 6)
    deep, made = F.conv2d(x, unfold.weight, unfold.bias, padding=1), unfold(x)
    for p in range(2):
        for q in range(2):
            quarter = deep[:, 5 * (2 * p + q) : 5 * (2 * p + q + 1)]
            torch.testing.assert_close(made[:, :, p::2, q::2], quarter)
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_a_style_sets_mean_and_spread_of_the_normalised_map():
    torch.manual_seed(0)
    norm, x, style = StyleNorm(32, 6), 3 + 2 * torch.randn(2, 32, 5, 5), torch.randn(2, 6, 3, 3)
    mean, spread = moments(style)
    flat = style.flatten(2)
    torch.testing.assert_close(mean, flat.mean(-1))
    torch.testing.assert_close(spread, (flat.var(-1) + 1e-6).sqrt())
    plain = F.group_norm(x, 32, eps=1e-6)
    wanted = norm.scale(spread)[..., None, None] * plain + norm.shift(mean)[..., None, None]
    torch.testing.assert_close(norm(x, mean, spread), wanted)


def test_maps_of_channels_last_kernels_stay_channels_last():
    decoder = ConvDecoder(8, SMALL).to(memory_format=torch.channels_last)
    seen: list[bool] = []
    for module in decoder.modules():
        if isinstance(module, Residual):
            module.register_forward_hook(
                lambda _m, _i, out: seen.append(out.is_contiguous(memory_format=torch.channels_last))
            )
    decoder(torch.rand(2, 8, 4, 4))
    assert len(seen) == 11
    assert all(seen)


def test_latent_diffusions_form_attends_in_the_middle_and_doubles_by_neighbours():
    torch.manual_seed(0)
    encoder = ConvEncoder(8, SMALL, attention=True)
    decoder = ConvDecoder(8, SMALL, attention=True, styled=False)
    assert not any(isinstance(module, StyleNorm | Unfold) for module in decoder.modules())
    assert sum(isinstance(module, Double) for module in decoder.modules()) == 2
    features = encoder(torch.rand(1, 3, 16, 16))
    made = decoder(features)
    assert made.shape == (1, 3, 16, 16)
    moved = features.clone()
    moved[..., 0, 0] += 1  # one corner is seen by the other, which convolutions alone do not reach
    assert (decoder(moved) - made)[..., -1, -1].abs().max() > 1e-4


def test_cells_of_a_map_attend_to_all_others():
    torch.manual_seed(0)
    layer, x = MapAttention(32), torch.randn(2, 32, 2, 3)
    rows = F.group_norm(x, 32, eps=1e-6).flatten(2).mT * layer.norm.weight + layer.norm.bias
    q, k, v = layer.attn.qkv(rows).chunk(3, -1)
    wanted = layer.attn.out((q @ k.mT / 32**0.5).softmax(-1) @ v)
    torch.testing.assert_close(layer(x), x + wanted.mT.unflatten(2, (2, 3)))
