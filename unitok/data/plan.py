"""The plan: which documents stand in row r, as a pure function of (seed, row number).

    draws     0, 1, 2, ... each takes a source (`mix`), of it the next document in the order of a keyed shuffle
              per epoch (`shuffle`), with probability p_null its null form, and of nested items some codes (`cuts`)
    windows   of `window` draws are packed by best fit (`pack`) into rows; the rows of a window are shuffled
    rows      are numbered through all windows

Nothing is drawn from a random state, so every process at any world size sees the same rows. Only the index of a
store is read. Where a window begins among the rows takes the row counts of the windows before it; `state` and
`restore` spare a resumed run that scan.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from unitok.data.arrays import Array, ranges, starts
from unitok.data.cuts import Cuts
from unitok.data.mix import Mixture
from unitok.data.pack import best_fit
from unitok.data.shuffle import keyed, permute
from unitok.data.store import Index

FORMAT = 1
ORDER, NULL, ROWS = 1, 2, 3  # what a key is for


class PlanMismatch(ValueError):
    """A run would go on with other data than it began with."""


class Indexed(Protocol):
    """What the plan needs of a store."""

    @property
    def index(self) -> Index:
        """Lengths and weights of the documents."""


class Layout(NamedTuple):
    """Documents placed in rows, [n] each, sorted by row and then by place.

    row: number among the rows asked for; store and doc: which document; null: in its null form;
    length: tokens; offset: first position in the row; place: number of the document within its row; draw: number of
    the draw, by which nested items are cut, -1 where nothing is.
    """

    row: Array
    store: Array
    doc: Array
    null: Array
    length: Array
    offset: Array
    place: Array
    draw: Array


class _Window(NamedTuple):
    first: Array  # [rows + 1] first document of every row
    layout: Layout


class Plan:
    """The rows of a run.

    Args:
        stores: sources by name; the order is part of the plan.
        weights: share of tokens of every source, any unit.
        seq_len: T, tokens per row.
        seed: another seed, another order.
        window: documents that are packed together.
        p_null: probability of the null form, for training with guidance.
        cuts: of the sources whose nested items get a budget, by name.
    """

    def __init__(
        self,
        stores: Mapping[str, Indexed],
        weights: Mapping[str, float],
        seq_len: int,
        seed: int = 0,
        window: int = 4096,
        p_null: float = 0.0,
        cuts: Mapping[str, Cuts] | None = None,
    ) -> None:
        self.names = list(stores)
        self.cuts = [(cuts or {}).get(name) for name in self.names]
        self.indices = [store.index for store in stores.values()]
        self.seq_len, self.seed, self.window, self.p_null = seq_len, seed, window, p_null
        for name, index in zip(self.names, self.indices, strict=True):
            _check(name, index, seq_len)
        if not self.names:
            raise ValueError("a plan needs at least one source: add one under [data.sources]")
        means = [
            (1 - p_null) * (i.length.mean() - (cut.mean_gone(False) if cut else 0))
            + p_null * (i.null_length.mean() - (cut.mean_gone(True) if cut else 0))
            for i, cut in zip(self.indices, self.cuts, strict=True)
        ]
        shares = [weights[name] for name in self.names]
        self.mixture = Mixture(shares, means, seed)
        facts = [
            FORMAT,
            seed,
            seq_len,
            window,
            p_null,
            shares,
            self.names,
            [i.fingerprint for i in self.indices],
            *([[cut.facts if cut else {} for cut in self.cuts]] if any(self.cuts) else []),
        ]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self._base = 0  # the window whose first row is _first_rows[0]
        self._first_rows = [0]
        self._pack = lru_cache(maxsize=4)(self._packed)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_pack"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pack = lru_cache(maxsize=4)(self._packed)

    # ---------------------------------------------------------------- rows

    def row(self, number: int) -> list[tuple[int, int, bool]]:
        """The documents of a row: (store, document, null form?) in order."""
        layout = self.layout([number])
        return list(zip(layout.store.tolist(), layout.doc.tolist(), layout.null.tolist(), strict=True))

    def layout(self, rows: Sequence[int] | Array) -> Layout:
        """The documents of several rows; `Layout.row` counts within `rows`."""
        rows = np.asarray(rows, np.int64)
        windows = np.array([self.locate(int(row)) for row in rows], np.int64).reshape(-1, 2)
        parts = []
        for number, first in np.unique(windows, axis=0).tolist():
            window = self._pack(number)
            asked = np.flatnonzero(windows[:, 0] == number)
            begin = window.first[rows[asked] - first]
            counts = window.first[rows[asked] - first + 1] - begin
            part = Layout(*(column[ranges(begin, counts)] for column in window.layout))
            parts.append(part._replace(row=np.repeat(asked, counts)))
        joined = Layout(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        order = np.argsort(joined.row, kind="stable")
        return Layout(*(column[order] for column in joined))

    def weight_sum(self, rows: Sequence[int] | Array) -> float:
        """The summed weight of all targets of the rows: the loss denominator that every rank knows."""
        layout = self.layout(rows)
        total = 0.0
        for number, index in enumerate(self.indices):
            mine = layout.store == number
            doc, null = layout.doc[mine], layout.null[mine]
            total += float(np.where(null, index.null_supervised[doc], index.supervised[doc]).sum())
            cut = self.cuts[number]
            if cut is not None:
                total -= float(cut.of(doc, layout.draw[mine], null, self.seed).lost.sum())
        return total

    def locate(self, row: int) -> tuple[int, int]:
        """The window that a row lies in and the number of that window's first row."""
        if row < 0:
            raise ValueError(f"row {row} does not exist: rows are numbered from 0")
        if row < self._first_rows[0]:
            self._base, self._first_rows = 0, [0]
        while self._first_rows[-1] <= row:
            count = len(self._pack(self._base + len(self._first_rows) - 1).first) - 1
            self._first_rows.append(self._first_rows[-1] + count)
        at = bisect_right(self._first_rows, row) - 1
        return self._base + at, self._first_rows[at]

    # ---------------------------------------------------------------- state

    def state(self, row: int) -> dict[str, Any]:
        """Plain data from which a run goes on at `row` without scanning the rows before it."""
        window, first = self.locate(row)
        draws = dict(zip(self.names, self.mixture.counts(window * self.window), strict=True))
        return {"plan": self.fingerprint, "row": row, "window": window, "first_row": first, "draws": draws}

    def restore(self, state: Mapping[str, Any]) -> int:
        """Take up a state; returns its row.

        Raises:
            PlanMismatch: the state is of a plan with other stores, weights, seed, window or row length.
        """
        if state["plan"] != self.fingerprint:
            raise PlanMismatch(
                f"the saved data state is of plan {state['plan']}, this run's plan is {self.fingerprint}: "
                "keep sources, weights, budgets, p_null, seed, window and seq_len, or begin a new run"
            )
        self._base, self._first_rows = int(state["window"]), [int(state["first_row"])]
        return int(state["row"])

    # ---------------------------------------------------------------- windows

    def _packed(self, number: int) -> _Window:
        store, doc, null, length = self._drawn(number)
        draw = number * self.window + np.arange(self.window)
        row_of, rows = best_fit(length, self.seq_len)
        row_of = permute(np.arange(rows), rows, int(keyed(self.seed, ROWS, number)[0]))[row_of]
        order = np.argsort(row_of, kind="stable")
        columns = (store[order], doc[order], null[order], length[order], draw[order])
        return _window(row_of[order], rows, *columns)

    def _drawn(self, number: int) -> tuple[Array, Array, Array, Array]:
        """Source, document, null form and length of every draw of a window."""
        begin, end = number * self.window, (number + 1) * self.window
        store = self.mixture.draws(begin, end)
        chance = keyed(self.seed, NULL, np.arange(begin, end, dtype=np.uint64))
        null = chance < np.uint64(min(int(self.p_null * 2.0**64), 2**64 - 1))
        doc = np.empty(self.window, np.int64)
        length = np.empty(self.window, np.int64)
        for s, (index, before) in enumerate(zip(self.indices, self.mixture.counts(begin), strict=True)):
            mine = np.flatnonzero(store == s)
            size = len(index.length)
            nth = before % size + np.arange(len(mine))
            epoch = before // size + nth // size
            doc[mine] = permute(nth % size, size, keyed(self.seed, ORDER, s, epoch))
            length[mine] = np.where(null[mine], index.null_length[doc[mine]], index.length[doc[mine]])
            cut = self.cuts[s]
            if cut is not None:
                kept = cut.of(doc[mine], begin + mine, null[mine], self.seed)
                np.subtract.at(length, mine[kept.of], kept.gone)
        return store, doc, null, length


def once(stores: Mapping[str, Indexed], seq_len: int) -> tuple[Layout, int]:
    """Every document of all stores exactly once, packed: the layout and the number of rows. For evaluation."""
    for name, store in stores.items():
        _check(name, store.index, seq_len)
    sizes = [len(store.index.length) for store in stores.values()]
    length = np.concatenate([store.index.length for store in stores.values()]).astype(np.int64)
    row_of, rows = best_fit(length, seq_len)
    order = np.argsort(row_of, kind="stable")
    number = np.repeat(np.arange(len(sizes)), sizes)[order]
    doc = ranges(np.zeros(len(sizes)), np.array(sizes))[order]
    null, draw = np.zeros(len(order), bool), np.full(len(order), -1)
    return _window(row_of[order], rows, number, doc, null, length[order], draw).layout, rows


def _check(name: str, index: Index, seq_len: int) -> None:
    if not len(index.length):
        raise ValueError(
            f"source {name!r} has no documents: look at the messages of tokenize, or leave it out"
        )
    longest = int(index.length.max())
    if longest > seq_len:
        raise ValueError(
            f"source {name!r} has a document of {longest} tokens, a row has {seq_len}: tokenize again with "
            f"max_tokens <= {seq_len}"
        )


def _window(
    row: Array, rows: int, store: Array, doc: Array, null: Array, length: Array, draw: Array
) -> _Window:
    """The layout of documents that are sorted by row."""
    counts = np.bincount(row, minlength=rows)
    first = np.concatenate([starts(counts), [len(row)]])
    begin = starts(length)
    offset = begin - begin[first[row]]
    place = np.arange(len(row)) - first[row]
    return _Window(first, Layout(row, store, doc, null, length, offset, place, draw))
