"""Loader: batches of the plan's rows for one rank, from a given row on, without end.

Micro-batch q of rank k (of `world`) holds rows q * world * B + k * B + [0, B). A training step of `a`
micro-batches therefore covers the same rows whenever world * B * a is the same: 1 rank with 4 micro-batches,
2 ranks with 2 and 4 ranks with 1 see equal steps. The row number is all the state there is.

Rows are filled in blocks of several micro-batches, here or in worker processes. No worker (the default) is
right on few cores: filling takes well under 1 % of a CPU's training time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from unitok.data.plan import Plan
from unitok.data.row import Row, fill
from unitok.data.store import Store
from unitok.vocabulary import Vocabulary

BLOCK = 32  # rows filled at once, for the speed of it


class _Blocks(Dataset[Row]):
    """Item b: the rows of this rank in micro-batches [b * per, (b + 1) * per), counted from `origin`."""

    def __init__(self, loader: Loader, origin: int, per: int) -> None:
        self.stores = list(loader.stores.values())
        self.plan, self.vocabulary = loader.plan, loader.vocabulary
        self.batch, self.rank, self.world = loader.batch, loader.rank, loader.world
        self.origin, self.per = origin, per

    def __getitem__(self, block: int) -> Row:
        micro = np.arange(block * self.per, (block + 1) * self.per)
        first = self.origin + (micro * self.world + self.rank) * self.batch
        rows = (first[:, None] + np.arange(self.batch)).reshape(-1)
        plan = self.plan
        layout = plan.layout(rows)
        return fill(self.stores, layout, len(rows), plan.seq_len, self.vocabulary, plan.cuts, plan.seed)


class Loader:
    """An endless iterator over batches [B, T].

    Args:
        stores: the plan's stores, in the plan's order.
        plan: says what stands in every row.
        vocabulary: of the stores.
        batch: B, rows per micro-batch and rank.
        rank: this process, of `world`.
        world: how many processes share the rows.
        workers: processes that fill rows ahead; 0 fills in this one.
        prefetch: blocks that each worker keeps ready.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        plan: Plan,
        vocabulary: Vocabulary,
        batch: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        prefetch: int = 2,
    ) -> None:
        if list(stores) != plan.names:
            raise ValueError(
                f"the loader has stores {list(stores)}, the plan {plan.names}: give both the same"
            )
        self.stores, self.plan, self.vocabulary = stores, plan, vocabulary
        self.batch, self.rank, self.world = batch, rank, world
        self.workers, self.prefetch = workers, prefetch
        self.row = 0

    @property
    def rows_per_batch(self) -> int:
        """Rows that all ranks together take with one micro-batch."""
        return self.batch * self.world

    def seek(self, row: int) -> None:
        """Go on at a global row, the first of a micro-batch (of a step, in training)."""
        self.row = row

    def state(self) -> dict[str, Any]:
        """Plain data to go on from: the same on every rank."""
        return self.plan.state(self.row)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, at any world size.

        Raises:
            PlanMismatch: the state is of another plan.
        """
        self.row = self.plan.restore(state)

    def weight_sum(self, batches: int = 1) -> float:
        """The summed target weight of the next `batches` micro-batches of all ranks: a step's loss denominator."""
        return self.plan.weight_sum(np.arange(self.row, self.row + batches * self.rows_per_batch))

    def __iter__(self) -> Iterator[Row]:
        per = max(1, BLOCK // self.batch)
        blocks: DataLoader[Row] = DataLoader(
            _Blocks(self, self.row, per),
            batch_size=None,
            sampler=count(),
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
        )
        for block in blocks:
            for at in range(0, per * self.batch, self.batch):
                self.row += self.rows_per_batch
                yield block.part(at, at + self.batch)
