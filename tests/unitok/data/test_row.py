from __future__ import annotations

import numpy as np
import torch

from unitok.data.plan import Plan
from unitok.data.row import collate, every_row, fill, unpack
from unitok.data.store import Store

T = 64


def rows_of(stores: dict[str, Store], vocabulary, numbers, p_null=0.3):
    plan = Plan(stores, {"chat": 1.0, "plain": 1.0}, T, seed=2, window=32, p_null=p_null)
    return plan, fill(list(stores.values()), plan.layout(numbers), len(numbers), T, vocabulary)


def test_unpacking_a_row_gives_its_documents(stores, vocabulary):
    numbers = [0, 1, 2, 9, 30]
    plan, batch = rows_of(stores, vocabulary, numbers)
    for at, number in enumerate(numbers):
        row = batch.each(lambda column, at=at: column[at])
        listed = list(stores.values())
        wanted = [listed[store].document(doc, null).ids.tolist() for store, doc, null in plan.row(number)]
        assert [ids.tolist() for ids in unpack(row)] == wanted


def test_a_row_is_its_documents_column_by_column(stores, vocabulary):
    numbers = list(range(12))
    plan, batch = rows_of(stores, vocabulary, numbers)
    listed = list(stores.values())
    nulls = 0
    for at, number in enumerate(numbers):
        begin = 0
        for place, (store, doc, null) in enumerate(plan.row(number)):
            nulls += null
            one = listed[store].document(doc, null)
            size = len(one.ids)
            here = slice(begin, begin + size)
            assert batch.tokens[at, here].tolist() == one.ids.tolist()
            assert batch.pos[at, here].tolist() == list(range(size))
            assert batch.doc[at, here].tolist() == [place] * size
            loss = one.weight.clone()[1:].tolist() + [0.0]
            ids = one.ids[1:].tolist() + [-1]
            kinds = one.kind[1:].tolist() + [0]
            assert batch.weight[at, here].tolist() == loss
            assert batch.targets[at, here].tolist() == [
                i if w else -1 for i, w in zip(ids, loss, strict=True)
            ]
            assert batch.kind[at, here].tolist() == [k if w else 0 for k, w in zip(kinds, loss, strict=True)]
            for name, channel in vocabulary.channels.items():
                dense = (
                    torch.zeros(size, channel.width)
                    if channel.kind == "float"
                    else -torch.ones(size, channel.width)
                )
                places, values = one.side.get(
                    name, (torch.zeros(0, dtype=torch.int64), torch.zeros(0, channel.width))
                )
                dense[places] = values.to(dense.dtype)
                assert torch.equal(batch.side[name][at, here].to(dense.dtype), dense)
            begin += size
        assert (batch.tokens[at, begin:] == vocabulary.mark("pad")).all()
        assert (batch.doc[at, begin:] == -1).all()
        assert (batch.targets[at, begin:] == -1).all()
        assert batch.weight[at, begin:].sum() == 0
    assert nulls > 0


def test_types_and_shapes(stores, vocabulary):
    _, batch = rows_of(stores, vocabulary, [0, 1])
    assert [column.dtype for column in batch[:6]] == [
        torch.int64, torch.int64, torch.float32, torch.uint8, torch.int32, torch.int64,
    ]  # fmt: skip
    assert all(column.shape == (2, T) for column in batch[:6])
    assert batch.side["molecule_shell"].shape == (2, T, 2)
    assert batch.side["molecule_shell"].dtype == torch.int64
    assert batch.side["image_edge"].dtype == torch.float32


def test_channels_are_there_even_when_no_document_has_them(stores, vocabulary):
    plain = {"plain": stores["plain"]}
    plan = Plan(plain, {"plain": 1.0}, T)
    batch = fill(list(plain.values()), plan.layout([0]), 1, T, vocabulary)
    assert batch.side.keys() == vocabulary.channels.keys()
    assert (batch.side["molecule_shell"] == -1).all()
    assert (batch.side["image_edge"] == 0).all()


def test_the_plan_knows_the_weight_of_the_rows(stores, vocabulary):
    numbers = list(range(20))
    plan, batch = rows_of(stores, vocabulary, numbers)
    assert plan.weight_sum(numbers) == batch.weight.sum().item()


def test_collate_and_part_are_inverse(stores, vocabulary):
    _, batch = rows_of(stores, vocabulary, [0, 1, 2])
    again = collate([batch.each(lambda column, at=at: column[at]) for at in range(3)])
    for a, b in zip([*batch[:6], *batch.side.values()], [*again[:6], *again.side.values()], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(batch.part(1, 3).tokens, batch.tokens[1:])


def test_every_row_reads_all_documents_once(stores, vocabulary):
    seen: list[list[int]] = []
    for batch in every_row(stores, T, vocabulary, batch=4):
        assert 1 <= len(batch.tokens) <= 4
        for at in range(len(batch.tokens)):
            seen += [ids.tolist() for ids in unpack(batch.each(lambda column, at=at: column[at]))]
    wanted = [store.document(i).ids.tolist() for store in stores.values() for i in range(len(store))]
    assert sorted(seen) == sorted(wanted)
    assert np.isfinite(batch.weight.numpy()).all()
