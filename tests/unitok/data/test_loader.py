from __future__ import annotations

import itertools
import pickle

import pytest
import torch

from unitok.data.loader import Loader, _Blocks
from unitok.data.plan import Plan, PlanMismatch

T = 64


def plan(stores, seed=2):
    return Plan(stores, {"chat": 1.0, "plain": 1.0}, T, seed=seed, window=32, p_null=0.2)


def loader(stores, vocabulary, batch, rank=0, world=1, workers=0, seed=2):
    return Loader(stores, plan(stores, seed), vocabulary, batch, rank, world, workers)


def take(loader, count):
    return [batch.tokens for batch in itertools.islice(iter(loader), count)]


def steps(stores, vocabulary, world, batch, accumulate, count):
    """Tokens of `count` steps, each as a sorted list of rows: what the whole world sees."""
    ranks = [
        take(loader(stores, vocabulary, batch, rank, world), count * accumulate) for rank in range(world)
    ]
    out = []
    for step in range(count):
        mine = [ranks[r][step * accumulate + a] for a in range(accumulate) for r in range(world)]
        out.append(sorted(torch.cat(mine).tolist()))
    return out


@pytest.mark.parametrize(
    ("world", "batch", "accumulate"), [(1, 2, 4), (1, 4, 2), (2, 4, 1), (2, 1, 4), (4, 2, 1)]
)
def test_every_world_and_accumulation_sees_the_same_rows_in_a_step(
    stores, vocabulary, world, batch, accumulate
):
    wanted = steps(stores, vocabulary, 1, 8, 1, 6)
    assert steps(stores, vocabulary, world, batch, accumulate, 6) == wanted


def test_rows_come_in_the_order_of_the_plan(stores, vocabulary):
    batches = torch.cat(take(loader(stores, vocabulary, 3), 30))
    made = plan(stores)
    for number in (0, 1, 44, 89):
        ids = [list(stores.values())[s].document(d, null).ids for s, d, null in made.row(number)]
        wanted = torch.cat(ids)
        assert batches[number, : len(wanted)].tolist() == wanted.tolist()


def test_workers_change_nothing(stores, vocabulary):
    wanted = take(loader(stores, vocabulary, 4), 20)
    got = take(loader(stores, vocabulary, 4, workers=2), 20)
    assert all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True))


def test_what_a_worker_gets_can_be_pickled(stores, vocabulary):
    blocks = _Blocks(loader(stores, vocabulary, 4), origin=8, per=2)
    copy = pickle.loads(pickle.dumps(blocks))
    assert torch.equal(copy[3].tokens, blocks[3].tokens)


@pytest.mark.parametrize("world", [1, 2])
def test_it_goes_on_where_a_state_was_taken_at_any_world_size(stores, vocabulary, world):
    whole = loader(stores, vocabulary, 4)
    wanted = take(whole, 25)
    half = loader(stores, vocabulary, 4)
    for _ in itertools.islice(iter(half), 13):
        pass
    state = half.state()
    assert state["row"] == 52
    ranks = []
    for rank in range(world):
        resumed = loader(stores, vocabulary, 4 // world, rank, world)
        resumed.restore(state)
        ranks.append(take(resumed, 12))
    for at, batch in enumerate(wanted[13:]):
        assert torch.equal(torch.cat([tokens[at] for tokens in ranks]), batch)


def test_seek_and_a_second_iteration_start_at_the_row(stores, vocabulary):
    one = loader(stores, vocabulary, 2)
    all_of_it = take(one, 10)
    assert one.row == 20
    one.seek(6)
    assert torch.equal(take(one, 1)[0], all_of_it[3])
    assert one.row == 8
    assert torch.equal(take(one, 1)[0], all_of_it[4])


def test_the_denominator_is_the_weight_of_all_ranks(stores, vocabulary):
    total = sum(
        batch.weight.sum().item()
        for rank in range(2)
        for batch in itertools.islice(iter(loader(stores, vocabulary, 2, rank, 2)), 3)
    )
    assert loader(stores, vocabulary, 2, 1, 2).weight_sum(3) == total


def test_a_state_of_another_plan_is_refused(stores, vocabulary):
    with pytest.raises(PlanMismatch):
        loader(stores, vocabulary, 2, seed=5).restore(loader(stores, vocabulary, 2).state())


def test_the_stores_must_be_the_plans(stores, vocabulary):
    turned = dict(reversed(stores.items()))
    with pytest.raises(ValueError, match="give both the same"):
        Loader(turned, plan(stores), vocabulary, 2)
