"""Budgets in the plan: nested items lose their last codes, by draw, and everything that counts tokens knows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import nested

from unitok import Codes, Document, Segment, Vocabulary
from unitok.config import ConfigError
from unitok.data.cuts import Cuts
from unitok.data.loader import Loader
from unitok.data.plan import Plan, PlanMismatch
from unitok.data.row import every_row, fill, unpack
from unitok.data.store import Store
from unitok.data.writer import StoreWriter

T = 64
BUDGET = {"image": "pow2", "sound": "uniform"}


@pytest.fixture(params=[False, True], ids=["flat", "stacked"])
def world(request, tmp_path):
    modalities = nested()
    vocabulary = Vocabulary.build(modalities, ["sound"] if request.param else [])
    rng = np.random.default_rng(0)

    def image(length=8):
        return Segment("image", Codes(torch.from_numpy(rng.integers(0, 20, length))))

    def sound():
        ids = torch.from_numpy(np.stack([rng.integers(0, n, 6) for n in (6, 5, 4)], 1))
        return Segment("sound", Codes(ids, {"near": torch.from_numpy(rng.integers(0, 7, (6, 2)))}))

    def text(n=5):
        return Segment("text", Codes(torch.from_numpy(rng.integers(0, 98, n))))

    stores = {}
    for name in ("chat", "plain"):
        with StoreWriter(tmp_path / name, vocabulary) as writer:
            for i in range(40):
                if name == "chat":
                    turns = [
                        ("user", [image(), text(), sound()]),
                        ("assistant", [text(), image(4 if i % 3 else 8)]),
                    ]
                    document = Document.chat(turns)
                else:
                    document = Document.of(sound(), text(), image())
                writer.add(document.render(vocabulary), f"{name}{i}", "own")
            writer.finish()
        stores[name] = Store.open(tmp_path / name, vocabulary)
    return stores, vocabulary, modalities


def planned(world, budget=BUDGET, p_null=0.3, seed=5):
    stores, vocabulary, modalities = world
    cuts = {name: Cuts(store, budget, vocabulary, modalities) for name, store in stores.items()}
    return Plan(stores, {"chat": 1.0, "plain": 1.0}, T, seed, window=32, p_null=p_null, cuts=cuts)


def filled(world, plan, numbers):
    stores, vocabulary, _ = world
    return fill(
        list(stores.values()), plan.layout(numbers), len(numbers), T, vocabulary, plan.cuts, plan.seed
    )


def test_rows_hold_whole_documents_whose_items_are_shorter(world):
    stores, vocabulary, modalities = world
    plan = planned(world)
    numbers = list(range(24))
    batch = filled(world, plan, numbers)
    listed, seen = list(stores.values()), {"image": set(), "sound": set()}
    for at, number in enumerate(numbers):
        row = batch.each(lambda column, at=at: column[at])
        found = unpack(row)
        wanted = plan.row(number)
        assert len(found) == len(wanted)
        for ids, (store, doc, null) in zip(found, wanted, strict=True):
            whole = vocabulary.parse(listed[store].document(doc, null).serial)
            cut = vocabulary.parse(ids)
            assert len(cut) == len(whole)
            for one, two in zip(cut, whole, strict=True):
                if not isinstance(one, Segment) or one.name == "text":
                    assert one == two or one.codes.ids.equal(two.codes.ids)
                    continue
                kept = len(one.codes)
                assert kept in modalities[one.name].spec.nested
                assert one.codes.ids.equal(two.codes.ids[:kept])
                seen[one.name].add(kept)
    assert seen == {"image": {1, 2, 4, 8}, "sound": {1, 2, 4, 6}}


def test_companions_stay_with_what_is_kept(world):
    stores, vocabulary, _ = world
    plan = planned(world, p_null=0.0)
    batch = filled(world, plan, list(range(10)))
    there = (batch.side["sound_near"] >= 0).all(-1)
    inside = (batch.tokens >= vocabulary.block("sound").start) & (
        batch.tokens < vocabulary.block("sound").start + vocabulary.block("sound").size
    )
    assert bool(there.any())
    assert bool((~there | inside).all())


def test_lengths_and_weights_are_those_of_the_rows(world):
    plan = planned(world)
    numbers = list(range(40))
    batch, layout = filled(world, plan, numbers), plan.layout(numbers)
    lengths = torch.tensor(layout.length)
    for at in range(len(numbers)):
        assert int((batch.doc[at] >= 0).sum()) == int(lengths[torch.tensor(layout.row == at)].sum()) <= T
    parts = torch.ones_like(batch.weight)
    if batch.more is not None:  # the parts of a stacked target are targets, too
        parts[:, :-1] += (batch.more[:, 1:] >= 0).sum(-1)
    assert plan.weight_sum(numbers) == pytest.approx(float((batch.weight * parts).sum()), rel=1e-6)


def test_the_same_draw_gives_the_same_cut_and_another_draw_another(world):
    plan, again = planned(world), planned(world)
    one, two = filled(world, plan, [7, 3]), filled(world, again, [3, 7])
    assert one.tokens[0].equal(two.tokens[1])
    cut = plan.cuts[0]
    docs = np.zeros(200, np.int64)
    kept = cut.of(docs, np.arange(200), np.zeros(200, bool), plan.seed)
    first = kept.size[:: len(kept.size) // 200]
    assert len(set(first.tolist())) > 1


def test_draws_follow_the_shares(world):
    _, vocabulary, _ = world
    cut = planned(world).cuts[1]  # plain: sound, then image
    n = 4000
    kept = cut.of(np.zeros(n, np.int64), np.arange(n), np.zeros(n, bool), 3)
    image, stride = kept.size[1::2], vocabulary.block("sound").stride
    sound = kept.size[::2] // stride
    for length in (1, 2, 4, 8):
        assert abs((image == length).mean() - 0.25) < 0.03
    for length in (1, 2, 4, 6):
        assert abs((sound == length).mean() - 0.25) < 0.03
    assert cut.mean_gone(False) == pytest.approx(kept.gone.sum() / n, rel=0.05)


def test_a_number_is_a_limit(world):
    plan = planned(world, {"image": 3}, p_null=0.0)
    _, vocabulary, _ = world
    batch = filled(world, plan, list(range(12)))
    for row in range(12):
        for ids in unpack(batch.each(lambda column, row=row: column[row])):
            for one in vocabulary.parse(ids):
                if isinstance(one, Segment) and one.name == "image":
                    assert len(one.codes) == 2
                if isinstance(one, Segment) and one.name == "sound":
                    assert len(one.codes) == 6


def test_the_loader_cuts_and_resumes_and_the_evaluation_does_not(world):
    stores, vocabulary, modalities = world
    loader = Loader(stores, planned(world), vocabulary, batch=2)
    steps = iter(loader)
    rows = [next(steps) for _ in range(3)]
    other = Loader(stores, planned(world), vocabulary, batch=2)
    other.restore({**loader.state(), **planned(world).state(4)})
    assert next(iter(other)).tokens.equal(rows[2].tokens)
    with pytest.raises(PlanMismatch):
        other.restore(planned(world, {"image": 4}).state(4))
    lengths = [
        len(one.codes)
        for batch in every_row(stores, T, vocabulary, 4)
        for row in range(len(batch.tokens))
        for ids in unpack(batch.each(lambda column, row=row: column[row]))
        for one in vocabulary.parse(ids)
        if isinstance(one, Segment) and one.name == "sound"
    ]
    assert set(lengths) == {6}


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"text": 3}, "cannot be cut"),
        ({"picture": 3}, "there are text, image, sound"),
        ({"image": 0}, "the shortest has 1"),
    ],
)
def test_what_has_no_budget_is_refused(world, budget, message):
    stores, vocabulary, modalities = world
    with pytest.raises(ValueError, match=message):
        Cuts(stores["chat"], budget, vocabulary, modalities)


def test_a_run_says_which_source_is_wrong(world):
    from types import SimpleNamespace

    from unitok.run import Run

    stores, vocabulary, modalities = world
    sources = {"chat": SimpleNamespace(budget={"text": 2}), "plain": SimpleNamespace(budget={})}
    run = Run(SimpleNamespace(data=SimpleNamespace(sources=sources)), modalities, vocabulary)
    with pytest.raises(ConfigError, match=r"\[data.sources.chat\] budget"):
        run.cuts(stores)
