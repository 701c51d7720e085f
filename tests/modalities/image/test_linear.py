"""The linear path: its division of components among tokens, and what it keeps of pictures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modalities.image.linear import LinearPath, divide
from modalities.image.training import psnr


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(8, 20),
    st.floats(1, 16),
)
def test_every_component_finds_a_place(variance: list[float], tokens: int, dim: int, bits: float) -> None:
    variance = sorted(variance, reverse=True)[: tokens * dim]
    sizes = divide(variance, tokens, dim, bits)
    assert len(sizes) == tokens
    assert sum(sizes) == len(variance)
    assert max(sizes) <= dim


def test_first_tokens_hold_fewer_components_of_larger_variance() -> None:
    sizes = divide([1000 / (n + 1) ** 2 for n in range(64)], tokens=8, dim=32, bits=8)
    assert sizes[0] < sizes[-1]
    assert sizes[0] <= 2


def low_rank(count: int, rank: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shapes = torch.nn.functional.interpolate(
        torch.randn(rank, 3, 4, 4, generator=generator), size=16, mode="bicubic"
    )
    weights = torch.randn(count, rank, generator=generator) * 0.5 ** torch.arange(rank)
    return 0.5 + 0.05 * torch.einsum("nr,rchw->nchw", weights, shapes)


@pytest.mark.parametrize("whiten", [0.0, 0.7])
def test_pictures_of_low_rank_survive_whole(whiten: float) -> None:
    pictures = low_rank(200, rank=6)
    path = LinearPath(16, 16, tokens=3, dim=4, components=6)
    path.start(path.reduce(pictures), bits=6, whiten=whiten)
    latents = path.encode(pictures)
    assert latents.shape == (200, 3, 4)
    assert psnr(path.decode(latents), pictures) > 50
    used = latents.reshape(200, 12)[:, path.slot].std(0)
    assert torch.allclose(used, path.spread.view(-1)[path.slot], rtol=0.02)
    if whiten:
        assert torch.allclose(used, torch.full_like(used, whiten), rtol=0.02)
    else:
        assert bool((used.diff() <= 0).all())


def test_gain_repairs_what_a_quantizer_shrinks() -> None:
    pictures = low_rank(200, rank=6)
    path = LinearPath(16, 16, tokens=3, dim=4, components=6)
    path.start(path.reduce(pictures), bits=6)
    latents = path.encode(pictures).detach()
    path.fit_gain(latents, 0.5 * latents)
    assert psnr(path.decode(0.5 * latents), pictures) > 50


def test_too_many_components_are_refused() -> None:
    with pytest.raises(ValueError, match="must fit"):
        LinearPath(16, 16, tokens=3, dim=4, components=13)
