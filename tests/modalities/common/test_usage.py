"""Usage figures and the cross-entropies of simple models."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalities.common.quantize import FSQ, KL, VQ, Binary
from modalities.common.usage import Usage, position_cross_entropy, unigram_cross_entropy


def test_even_use_and_collapse() -> None:
    usage = Usage(8)
    usage.add(torch.arange(8).repeat(3, 2))
    assert usage.summary() == pytest.approx(
        {"usage": 1.0, "dead": 0, "perplexity": 8.0, "entropy": math.log(8), "seen": 48}
    )
    usage.clear()
    usage.add(torch.zeros(5, 4, dtype=torch.long))
    assert usage.summary() == pytest.approx(
        {"usage": 1 / 8, "dead": 7, "perplexity": 1, "entropy": 0, "seen": 20}
    )
    assert Usage(8).summary()["perplexity"] == 1.0


def test_counters_fit_their_quantizer() -> None:
    assert Usage.of(FSQ((4, 3))).parts == (12,)
    assert Usage.of(VQ(6, 2)).parts == (6,)
    assert Usage.of(VQ(6, 2, books=3)).parts == (6, 6, 6)
    assert Usage.of(Binary(10)).parts == (256, 4)


def test_each_codebook_is_watched_alone() -> None:
    usage = Usage.of(VQ(2, 1, books=2))
    usage.add(torch.tensor([[0, 0], [0, 1]]))  # all ids occur, but the first position uses one of two
    summary = usage.summary()
    assert summary["usage"] == 0.75
    assert summary["dead"] == 1
    assert summary["perplexity"] == pytest.approx(1.5)


def test_parts_are_counted_in_their_own_range() -> None:
    usage = Usage(12, (8, 4))
    usage.add(torch.tensor([[[7, 3], [0, 0]]]))
    assert usage.summary()["usage"] == pytest.approx(4 / 12)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(1, 6), max_size=6), st.sampled_from([(5,), (4, 3)]))
def test_a_window_looks_at_the_latest_codes_alone(
    window: int, batches: list[int], parts: tuple[int, ...]
) -> None:
    usage, generator = Usage(sum(parts), parts, window), torch.Generator().manual_seed(window)
    rows = torch.zeros(0, len(parts), dtype=torch.long)
    for count in batches:
        new = torch.stack([torch.randint(part, (count,), generator=generator) for part in parts], -1)
        usage.add(new if len(parts) > 1 else new.view(1, count))
        rows = torch.cat([rows, new])
    plain = Usage(sum(parts), parts)
    plain.add(rows[-window:])
    assert usage.summary() == plain.summary()


def test_every_part_has_its_own_figures() -> None:
    usage = Usage(12, (8, 4))
    usage.add(torch.tensor([[[7, 3], [0, 3], [1, 3], [2, 3]]]))
    first, second = usage.each()
    assert first == pytest.approx(
        {"usage": 0.5, "dead": 4, "perplexity": 4, "entropy": math.log(4), "seen": 4}
    )
    assert second == pytest.approx({"usage": 0.25, "dead": 3, "perplexity": 1, "entropy": 0, "seen": 4})
    with pytest.raises(ValueError, match="window of -1"):
        Usage(4, window=-1)


def test_continuous_latents_have_nothing_to_count() -> None:
    usage = Usage.of(KL(4))
    usage.add(None)
    assert usage.summary() == {}


def test_position_tables_help_where_positions_differ_and_only_there() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(4, (500, 3), generator=generator)
    by_place = noise + 4 * torch.arange(3)  # each position has its own four codes
    train, heldout = by_place[:400], by_place[400:]
    assert unigram_cross_entropy(train, heldout, 12) == pytest.approx(math.log(12), abs=0.05)
    assert position_cross_entropy(train, heldout, 12) == pytest.approx(math.log(4), abs=0.1)
    same = position_cross_entropy(noise[:400], noise[400:], 4)
    assert same == pytest.approx(unigram_cross_entropy(noise[:400], noise[400:], 4), abs=0.05)


def test_a_code_never_seen_in_training_costs_finitely() -> None:
    train, heldout = torch.zeros(5, 2, dtype=torch.long), torch.full((2, 2), 3)
    assert math.isfinite(unigram_cross_entropy(train, heldout, 4))
    assert math.isfinite(position_cross_entropy(train, heldout, 4))
