"""MaskGIT-VQGAN's halves: shapes, the folded doubling, the shortcut that drops its input."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from modalities.image.vqgan import Double, ProxyDecoder, Residual, VQGANDecoder, VQGANEncoder

SMALL = (32, 32, 64, 64, 64)


def test_doubling_folded_into_phases_is_the_same_sum():
    torch.manual_seed(0)
    double, x = Double(3, 5), torch.randn(2, 3, 4, 7)
    plain = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), double.weight, double.bias, padding=1)
    torch.testing.assert_close(double(x), plain)  # with gradients: the two steps
    with torch.no_grad():
        folded = double(x)
    assert not folded.requires_grad
    torch.testing.assert_close(folded, plain, atol=1e-5, rtol=1e-5)


def test_a_block_that_changes_channels_drops_its_input():
    torch.manual_seed(0)
    block, same, x = Residual(64, 32), Residual(32, 32), torch.randn(1, 64, 4, 4)
    h = block.conv_2(F.silu(block.norm_2(block.conv_1(F.silu(block.norm_1(x))))))
    assert block.shortcut is not None
    torch.testing.assert_close(block(x), h + block.shortcut(h))
    assert same.shortcut is None


def test_shapes_there_and_back():
    torch.manual_seed(0)
    features = VQGANEncoder(8, SMALL)(torch.rand(2, 3, 32, 48))
    assert features.shape == (2, 8, 2, 3)
    assert VQGANDecoder(8, SMALL)(features).shape == (2, 3, 32, 48)


def test_a_sure_logit_decodes_its_code():
    torch.manual_seed(0)
    proxy = ProxyDecoder(16, 8)
    proxy.decoder = VQGANDecoder(8, SMALL)
    codes = torch.randint(16, (1, 2, 2))
    logits = 1e4 * F.one_hot(codes, 16).permute(0, 3, 1, 2).float()
    wanted = proxy.decoder(proxy.codebook[codes].permute(0, 3, 1, 2))
    torch.testing.assert_close(proxy(logits), wanted, atol=1e-4, rtol=1e-3)
