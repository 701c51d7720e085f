"""Batches of a task: every item once an epoch, whatever the number of ranks, from any step on."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from modalities.common.feed import Items, indices

TASK = SimpleNamespace(
    train=torch.arange(10), batch=lambda index, generator: index + torch.rand(1, generator=generator) / 2
)


def taken(items: Items, steps: int) -> list[tuple[Tensor, Tensor]]:
    return list(islice(items, steps))


def test_every_epoch_has_every_item_once_in_another_order() -> None:
    stream = torch.cat([indices(10, 4, step, seed=1) for step in range(10)])
    epochs = stream.view(4, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 4
    assert torch.equal(indices(10, 4, 7, seed=1), stream[28:32])
    assert not torch.equal(indices(10, 4, 7, seed=2), stream[28:32])


def test_ranks_share_the_items_of_a_step_and_change_them_each_in_its_way() -> None:
    alone = taken(Items(TASK, 4, seed=3), 5)
    ranks = [taken(Items(TASK, 4, seed=3, rank=rank, world=2), 5) for rank in range(2)]
    for (whole, step), (a, step_a), (b, step_b) in zip(alone, *ranks, strict=True):
        assert step == step_a == step_b
        assert sorted(torch.cat([a, b]).int().tolist()) == sorted(whole.int().tolist())
        assert a[0] % 1 != b[0] % 1
    assert Items(TASK, 4, seed=3, rank=1, world=2).weight_sum(3) == 12


def test_a_feed_goes_on_where_its_state_was_taken() -> None:
    feed, again = Items(TASK, 4, seed=3), Items(TASK, 4, seed=3)
    stream = iter(feed)
    for _ in range(3):
        next(stream)
    again.restore(feed.state())
    for (a, step_a), (b, step_b) in zip(taken(feed, 4), taken(again, 4), strict=True):
        assert torch.equal(a, b)
        assert step_a == step_b


@pytest.mark.parametrize(("rows", "seed", "named"), [(5, 3, "rows"), (4, 4, "seed")])
def test_a_state_of_another_run_is_refused(rows: int, seed: int, named: str) -> None:
    with pytest.raises(ValueError, match=f"trained with {named} ="):
        Items(TASK, rows, seed).restore(Items(TASK, 4, seed=3).state())
