"""Stores, plans and rows of a vocabulary with stacked blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import STACKED, parted

from unitok import Document, Vocabulary
from unitok.data.loader import Loader
from unitok.data.plan import Plan
from unitok.data.row import every_row, unpack
from unitok.data.store import Store
from unitok.data.writer import write_store
from unitok.document import segment

MODALITIES = parted()
FLAT = Vocabulary.build(MODALITIES)
STACK = Vocabulary.build(MODALITIES, stacked=STACKED)
T = 48


def documents(count: int = 40) -> dict[str, Document]:
    rng = np.random.default_rng(0)

    def drawn(name: str, weight: float = 1.0):
        spec = MODALITIES[name].spec
        lo, hi = spec.length
        n = int(rng.integers(lo, (hi or lo + 5) + 1))
        if spec.parts:
            return segment(
                MODALITIES[name], [[int(rng.integers(p)) for p in spec.parts] for _ in range(n)], weight
            )
        return segment(MODALITIES[name], rng.integers(0, min(spec.size, 90), n).tolist(), weight)

    found = {}
    for i in range(count):
        asked = [drawn("sound"), drawn("text")]
        told = [drawn("text"), drawn("cloud"), drawn("sound")]
        if i % 3 == 0:
            found[str(i)] = Document.of(drawn("cloud", 0.5), drawn("text"), drawn("sound", 0.0))
        elif i % 3 == 1:
            found[str(i)] = Document.chat([("user", asked), ("assistant", told)])
        else:
            found[str(i)] = Document.of(drawn("text"))
    return found


DOCUMENTS = documents()


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        name: write_store(folder / name, vocabulary, {k: d.render(vocabulary) for k, d in DOCUMENTS.items()})
        for name, vocabulary in (("flat", FLAT), ("stacked", STACK))
    }


def test_documents_come_back_as_they_were_written(stores):
    store = Store.open(stores["stacked"].path, STACK, verify=True)
    for number, document in enumerate(DOCUMENTS.values()):
        for null in (False, True):
            wanted = document.render(STACK)
            wanted = wanted.nulled() if null else wanted
            found = store.document(number, null)
            for name in ("ids", "weight", "kind", "null", "more"):
                assert getattr(found, name).equal(getattr(wanted, name)), name
            assert found.side.keys() == wanted.side.keys()
            for name in found.side:
                assert all(a.equal(b) for a, b in zip(found.side[name], wanted.side[name], strict=True))
    assert store.vocabulary() == STACK


def test_lengths_count_positions_and_weights_count_codes(stores):
    flat, stacked = stores["flat"].index, stores["stacked"].index
    assert stacked.length.tolist() == [len(d.render(STACK).ids) for d in DOCUMENTS.values()]
    assert stacked.length.sum() < flat.length.sum()
    assert stacked.null_length.sum() < flat.null_length.sum()
    np.testing.assert_array_equal(stacked.supervised, flat.supervised)
    np.testing.assert_array_equal(stacked.null_supervised, flat.null_supervised)


def test_a_store_without_stacked_blocks_has_no_column_for_them(stores):
    assert not any(name.startswith("more") for name in stores["flat"].columns)
    assert {"more.at", "more.value", "more.doc"} <= stores["stacked"].columns.keys()
    assert stores["flat"].document(0).more is None


@pytest.mark.parametrize("p_null", [0.0, 0.5])
def test_packed_rows_hold_every_document_of_the_plan(stores, p_null):
    store = {"s": stores["stacked"]}
    plan = Plan(store, {"s": 1.0}, T, window=64, p_null=p_null)
    loader = Loader(store, plan, STACK, batch=4)
    for number, batch in zip(range(3), loader, strict=False):
        assert batch.more.shape == (4, T, 2)
        for i in range(4):
            row = batch.each(lambda column, i=i: column[i])
            drawn = plan.row(4 * number + i)
            wanted = [store["s"].document(doc, null) for _, doc, null in drawn]
            assert [one.tolist() for one in unpack(row)] == [one.serial.tolist() for one in wanted]
            assert row.more[row.doc >= 0].equal(torch.cat([one.more for one in wanted]))
            assert (row.more[row.doc < 0] == -1).all()
        codes = 1 + (torch.cat([batch.more[:, 1:], torch.full((4, 1, 2), -1)], 1) >= 0).sum(2)
        weight = (batch.weight * codes).sum(dtype=torch.float64)
        assert float(weight) == pytest.approx(plan.weight_sum(range(4 * number, 4 * number + 4)))


def test_worker_processes_give_the_same_rows(stores):
    store = {"s": stores["stacked"]}
    plan = Plan(store, {"s": 1.0}, T, window=64)
    here, there = (next(iter(Loader(store, plan, STACK, 2, workers=workers))) for workers in (0, 1))
    assert here.more.equal(there.more)
    assert here.tokens.equal(there.tokens)


def test_reading_everything_once_takes_fewer_rows(stores):
    rows = {
        name: sum(len(row.tokens) for row in every_row({name: store}, 56, vocabulary, 8))
        for (name, store), vocabulary in zip(stores.items(), (FLAT, STACK), strict=True)
    }
    assert rows["stacked"] < 0.8 * rows["flat"]
