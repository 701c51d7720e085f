"""Keys and values that are kept between calls."""

from __future__ import annotations

import pytest
import torch

from modalities.common.attention import Attention, Cache, Shared


def test_later_calls_see_the_first_and_themselves_with_gradients() -> None:
    torch.manual_seed(0)
    attention, first = Attention(8, 2), torch.randn(2, 3, 8, requires_grad=True)
    cache = Shared()
    alone = attention(first, cache=cache)
    torch.testing.assert_close(alone, attention(first))
    for later in (torch.randn(2, 4, 8), torch.randn(2, 2, 8)):
        whole = attention(torch.cat([first, later], dim=1), read=slice(3, None))
        torch.testing.assert_close(attention(later, cache=cache), whole)
    attention(later, cache=cache).sum().backward()
    assert first.grad is not None
    assert bool(first.grad.abs().sum() > 0)


def test_a_cache_that_is_too_short_says_so() -> None:
    attention, cache = Attention(8, 2), Cache(4)
    with torch.no_grad():
        attention(torch.randn(1, 3, 8), cache=cache)
        with pytest.raises(ValueError, match="5 positions in a cache for 4: make it longer"):
            attention(torch.randn(1, 2, 8), cache=cache)
