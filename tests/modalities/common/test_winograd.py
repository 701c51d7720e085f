"""Quick convolutions: the sums of the plain ones, and only where they are meant."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from modalities.common import winograd
from modalities.common.winograd import Conv3x3, convolve, fits, transforms


@settings(deadline=None, max_examples=40)
@given(
    kernel=st.sampled_from([2, 3]),
    batch=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    bias=st.booleans(),
)
def test_sums_are_those_of_the_plain_convolution(kernel, batch, height, width, channels, bias):
    torch.manual_seed(height * 41 + width)
    x, weight = (
        torch.randn(batch, channels[0], height, width),
        torch.randn(channels[1], channels[0], kernel, kernel),
    )
    shift = torch.randn(channels[1]) if bias else None
    with torch.no_grad():
        got = convolve(x, weight, shift)
    exact = F.conv2d(x.double(), weight.double(), None if shift is None else shift.double(), padding=1)
    torch.testing.assert_close(got.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [2, 3])
def test_one_tile_takes_n_squared_products(kernel):
    inputs, kernels, outputs = transforms(kernel)
    n = 3 + kernel
    assert inputs.shape == (n * n, n * n)
    assert kernels.shape == (n * n, kernel * kernel)
    assert outputs.shape == (16, n * n)


def test_rows_are_worked_on_in_parts(monkeypatch):
    monkeypatch.setattr(winograd, "TILES", 1)
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 33, 18), torch.randn(5, 4, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(convolve(x, weight), F.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-4)


def test_used_without_gradients_in_fp32_on_large_maps_alone():
    layer, large, small = Conv3x3(4, 6, quick=True), torch.randn(1, 4, 32, 32), torch.randn(1, 4, 8, 8)
    assert not fits(large, layer.weight)  # gradients are on
    with torch.no_grad():
        assert fits(large, layer.weight)
        assert not fits(small, layer.weight)
        assert not fits(large.bfloat16(), layer.weight)
        assert not fits(large.double(), layer.weight.double())
        with torch.autocast("cpu", torch.bfloat16):
            assert not fits(large, layer.weight)


def test_a_layer_is_the_same_map_with_and_without(monkeypatch):
    torch.manual_seed(0)
    layer, x = Conv3x3(4, 6, quick=True), torch.randn(1, 4, 40, 32)
    plain = layer(x)
    assert plain.requires_grad
    calls = []
    monkeypatch.setattr(winograd, "convolve", lambda *a: calls.append(1) or convolve(*a))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain.detach(), rtol=1e-4, atol=1e-5)
        layer.quick = False
        assert torch.equal(layer(x), plain)
    assert len(calls) == 1
