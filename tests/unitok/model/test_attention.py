from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unitok.model.attention import Where, attend


def random(batch: int = 2, length: int = 24, heads: int = 4, groups: int = 2, dim: int = 16) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = [(batch, heads, length, dim), (batch, groups, length, dim), (batch, groups, length, dim)]
    return [torch.randn(shape, generator=g) for shape in shapes]


def documents() -> Tensor:
    doc = torch.tensor([[0] * 5 + [1] * 9 + [2] * 4 + [-1] * 6, [0] * 24])
    return doc.int()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 4))
def test_the_mask_is_causal_within_documents(lengths: list[int], pads: int) -> None:
    owner = [d for d, n in enumerate(lengths) for _ in range(n)] + [-1] * pads
    mask = Where(torch.tensor([owner])).mask[0, 0]
    expected = [[a == b and j <= i for j, b in enumerate(owner)] for i, a in enumerate(owner)]
    assert mask.tolist() == expected
    assert mask.any(dim=1).all(), "a row of the mask without True gives NaN"


def test_sdpa_is_softmax_over_the_visible_keys() -> None:
    q, k, v = random()
    where = Where(documents())
    k_all, v_all = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
    scores = (q @ k_all.transpose(-1, -2) / 16**0.5).masked_fill(~where.mask, -torch.inf)
    torch.testing.assert_close(attend(q, k, v, where), scores.softmax(-1) @ v_all, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_equals_sdpa() -> None:
    """Uncompiled Flex is slow but runs anywhere, forward only."""
    q, k, v = random(length=128)
    doc = torch.cat((documents(), documents()[:, :8].repeat(1, 13) + 7), dim=1)  # [2, 128]
    with torch.no_grad():
        flex = attend(q, k, v, Where(doc, "flex"))
        torch.testing.assert_close(flex, attend(q, k, v, Where(doc)), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_flex_equals_sdpa_with_gradients_on_cuda() -> None:
    inputs = [x.cuda().requires_grad_() for x in random(length=256, dim=32)]
    doc = torch.arange(256).div(60, rounding_mode="floor").expand(2, 256).cuda()
    gradients = []
    for backend in ("sdpa", "flex"):
        out = attend(*inputs, Where(doc, backend))
        gradients.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_masks_are_built_once() -> None:
    where = Where(documents())
    assert where.mask is where.mask
