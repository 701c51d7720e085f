from __future__ import annotations

import numpy as np
import pytest
from data_toys import Lengths
from hypothesis import given, settings
from hypothesis import strategies as st

from unitok.data.plan import Plan, PlanMismatch, once


def sources(seed=0, size=512):
    rng = np.random.default_rng(seed)
    return {
        "book": Lengths(np.full(300, size)),
        "molecule": Lengths(np.clip(rng.lognormal(4, 0.4, 3000), 12, size).astype(int)),
        "image": Lengths(rng.integers(42, 60, 2000)),
        "cloud": Lengths(rng.integers(74, 90, 500)),
        "page": Lengths(rng.integers(120, size, 90)),
    }


WEIGHTS = {"book": 0.15, "molecule": 0.4, "image": 0.25, "cloud": 0.1, "page": 0.1}


def plan(seed=1, **options):
    return Plan(sources(), WEIGHTS, 512, seed, **{"window": 512, **options})


def rows(plan, count, start=0):
    return [plan.row(r) for r in range(start, start + count)]


def test_a_row_is_a_function_of_seed_and_number():
    wanted = rows(plan(), 300)
    again = plan()
    for number in (299, 0, 150, 7):
        assert again.row(number) == wanted[number]
    assert rows(plan(seed=2), 30) != wanted[:30]


def test_asking_for_many_rows_gives_the_same_as_one_by_one():
    p = plan()
    asked = [250, 3, 3, 77, 0]
    layout = p.layout(asked)
    for at, number in enumerate(asked):
        mine = layout.row == at
        got = zip(
            layout.store[mine].tolist(), layout.doc[mine].tolist(), layout.null[mine].tolist(), strict=True
        )
        assert list(got) == p.row(number)


def test_documents_lie_end_to_end_within_their_row():
    p = plan(p_null=0.3)
    layout = p.layout(range(200))
    for row in range(200):
        mine = layout.row == row
        ends = np.cumsum(layout.length[mine])
        assert layout.offset[mine].tolist() == [0, *ends[:-1].tolist()]
        assert layout.place[mine].tolist() == list(range(mine.sum()))
        assert ends[-1] <= 512


def test_every_document_of_a_source_comes_once_an_epoch():
    stores = {"a": Lengths([10] * 60), "b": Lengths([20] * 17)}
    p = Plan(stores, {"a": 1, "b": 1}, 64, seed=3, window=128)
    seen: dict[int, list[int]] = {0: [], 1: []}
    for window in range(8):
        store, doc, _, _ = p._drawn(window)
        for s in seen:
            seen[s] += doc[store == s].tolist()
    for s, size in ((0, 60), (1, 17)):
        epochs = [seen[s][at : at + size] for at in range(0, len(seen[s]) - size, size)]
        assert len(epochs) > 3
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
        assert epochs[0] != epochs[1]


def test_no_document_of_a_window_is_lost_or_doubled():
    p = plan(p_null=0.2)
    store, doc, null, _ = p._drawn(0)
    count = p.locate(0)[1] + len(p._pack(0).first) - 1
    placed = sorted(d for r in range(count) for d in p.row(r))
    assert placed == sorted(zip(store.tolist(), doc.tolist(), null.tolist(), strict=True))


def test_shares_of_tokens_are_the_weights():
    layout = plan().layout(range(2000))
    tokens = np.bincount(layout.store, weights=layout.length)
    assert tokens / tokens.sum() == pytest.approx(list(WEIGHTS.values()), abs=0.01)


def independent(stores, size, count, seed=0):
    """Token shares per row when documents are drawn independently and rows are filled in that order."""
    rng = np.random.default_rng(seed)
    lengths = [store.index.length for store in stores.values()]
    chance = np.array(list(WEIGHTS.values())) / [one.mean() for one in lengths]
    shares = []
    used = np.zeros(len(lengths))
    while len(shares) < count:
        source = rng.choice(len(lengths), p=chance / chance.sum())
        length = rng.choice(lengths[source])
        if used.sum() + length > size:
            shares.append(used / used.sum())
            used = np.zeros(len(lengths))
        used[source] += length
    return np.array(shares)


@pytest.mark.parametrize("size", [512, 1024])
def test_rows_are_full_and_keep_the_mixture(size):
    stores = sources(size=size)
    p = Plan(stores, WEIGHTS, size, seed=4)
    count = 1200
    layout = p.layout(range(count))
    assert layout.length.sum() / (count * size) >= 0.98
    cells = layout.row * len(stores) + layout.store
    used = np.bincount(cells, weights=layout.length, minlength=count * len(stores)).reshape(count, -1)
    shares = used / used.sum(axis=1, keepdims=True)
    reference = independent(stores, size, count)
    for s, name in enumerate(stores):
        assert shares[:, s].std() <= 2 * reference[:, s].std(), name


def test_the_null_form_comes_with_the_probability_asked_for():
    layout = plan(p_null=0.25).layout(range(600))
    assert layout.null.mean() == pytest.approx(0.25, abs=0.02)
    assert not plan().layout(range(100)).null.any()
    assert plan(p_null=1.0).layout(range(100)).null.all()


def test_the_weight_sum_is_that_of_the_documents():
    p = plan(p_null=0.3)
    total = 0.0
    for row in (5, 9, 300):
        for store, doc, null in p.row(row):
            index = p.indices[store]
            total += float((index.null_supervised if null else index.supervised)[doc])
    assert p.weight_sum([5, 9, 300]) == total


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, 900))
def test_a_run_goes_on_at_any_row_without_the_rows_before_it(row):
    whole = plan(p_null=0.1)
    state = whole.state(row)
    resumed = plan(p_null=0.1)
    assert resumed.restore(state) == row
    packed = []
    resumed._pack = lambda number, pack=resumed._pack: (packed.append(number), pack(number))[1]
    assert rows(resumed, 3, row) == rows(whole, 3, row)
    assert min(packed) >= state["window"]
    assert sum(state["draws"].values()) == state["window"] * 512
    assert resumed.row(0) == whole.row(0)


@pytest.mark.parametrize(
    "other",
    [
        lambda: plan(seed=2),
        lambda: plan(window=256),
        lambda: plan(p_null=0.5),
        lambda: Plan(sources(), WEIGHTS, 1024, 1, window=512),
        lambda: Plan(sources(), {**WEIGHTS, "book": 0.2}, 512, 1, window=512),
        lambda: Plan(sources(seed=7), WEIGHTS, 512, 1, window=512),
    ],
)
def test_the_state_of_another_plan_is_refused(other):
    with pytest.raises(PlanMismatch) as caught:
        other().restore(plan().state(10))
    assert plan().fingerprint in str(caught.value)
    assert other().fingerprint in str(caught.value)


def test_the_same_plan_has_the_same_fingerprint():
    assert plan().fingerprint == plan().fingerprint


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 64), min_size=1, max_size=40), min_size=1, max_size=3))
def test_once_holds_every_document_exactly_once(lengths):
    stores = {str(i): Lengths(one) for i, one in enumerate(lengths)}
    layout, count = once(stores, 64)
    wanted = sorted((s, d) for s, one in enumerate(lengths) for d in range(len(one)))
    assert sorted(zip(layout.store.tolist(), layout.doc.tolist(), strict=True)) == wanted
    assert (np.bincount(layout.row, weights=layout.length, minlength=count) <= 64).all()


def test_what_cannot_be_planned_is_said_at_the_start():
    with pytest.raises(ValueError, match="'a' has a document of 65 tokens, a row has 64"):
        Plan({"a": Lengths([65])}, {"a": 1.0}, 64)
    with pytest.raises(ValueError, match="'a' has no documents"):
        Plan({"a": Lengths([])}, {"a": 1.0}, 64)
    with pytest.raises(ValueError, match="at least one source"):
        Plan({}, {}, 64)
    with pytest.raises(ValueError, match="row -1"):
        plan().row(-1)
