"""Cuts: how many codes each nested item of a document keeps in a draw of the plan, by hashing, without state.

A budget of a source names blocks with nested codes and how many codes their items get: a number for all, or how
the number is drawn (`unitok.budget.shares`). Item j of the document that draw i of a run takes gets
the same number on every rank and after every resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from unitok.budget import Kind, longest, shares
from unitok.data.arrays import Array, ranges
from unitok.data.shuffle import keyed
from unitok.data.store import Store
from unitok.modality import Modality, nested_lengths
from unitok.vocabulary import Vocabulary

Budget = Mapping[str, Kind | int]
"""Block -> most codes of its items, or how their number is drawn."""
CUT = 4  # what the key is for; `plan` has the others


class Kept(NamedTuple):
    """Spans of drawn documents and what stays of them, [m] each, sorted by document and place.

    of: which of the documents asked for; run: number of the span among the runs of the store; size: tokens that
    stay; gone: tokens that go; lost: summed target weight that goes with them; null: not in the null form anyway.
    """

    of: Array
    run: Array
    size: Array
    gone: Array
    lost: Array
    null: Array


class _Choice(NamedTuple):
    """How many tokens a block's items keep: the k-th length where the k-th edge is the first above the hash."""

    tokens: Array  # int64 [n]
    edges: Array  # uint64 [n - 1]
    weight: Array  # float64 [n], probabilities
    parts: int  # targets to a token


class Cuts:
    """The cuts of one source.

    Args:
        store: its documents.
        budget: by block.
        vocabulary, modalities: of the store.

    Raises:
        ValueError: a block that is not there, whose codes cannot be cut, or that holds no item so small.
    """

    def __init__(
        self, store: Store, budget: Budget, vocabulary: Vocabulary, modalities: Mapping[str, Modality]
    ) -> None:
        self.facts = {name: budget[name] for name in sorted(budget)}
        choices = {name: _choice(name, how, vocabulary, modalities) for name, how in budget.items()}
        self.by_kind = {vocabulary.kinds.index(name): choice for name, choice in choices.items()}
        c = store.columns
        kind = np.asarray(c["run_kind"])
        self.run = np.flatnonzero(np.isin(kind, list(self.by_kind)))
        self.kind = kind[self.run]
        edge = c["run"].astype(np.int64)
        self.length = edge[self.run + 1] - edge[self.run]
        self.weight = np.asarray(c["run_weight"])[self.run].astype(np.float64)
        self.null = np.asarray(c["run_null"])[self.run] != 0
        first = c["doc_run"].astype(np.int64)
        self.first = np.searchsorted(self.run, first)  # [D + 1] first span of every document

    def mean_gone(self, null: bool) -> float:
        """Tokens that a document loses on average."""
        total = 0.0
        for kind, choice in self.by_kind.items():
            mine = (self.kind == kind) & ~(self.null & null)
            left = np.minimum(self.length[mine][:, None], choice.tokens) @ choice.weight
            total += float((self.length[mine] - left).sum())
        return total / max(1, len(self.first) - 1)

    def of(self, docs: Array, draws: Array, null: Array, seed: int) -> Kept:
        """What stays of the spans of documents.

        Args:
            docs: int64 [n].
            draws: int64 [n], the draw of the run that took each.
            null: bool [n], which of them are in their null form.
            seed: of the plan.
        """
        counts = self.first[docs + 1] - self.first[docs]
        span = ranges(self.first[docs], counts)
        of = np.repeat(np.arange(len(docs)), counts)
        place = ranges(np.zeros(len(docs)), counts)
        chance = keyed(seed, CUT, draws[of].astype(np.uint64), place.astype(np.uint64))
        size, parts = self.length[span], np.ones(len(span))
        for kind, choice in self.by_kind.items():
            mine = self.kind[span] == kind
            number = np.searchsorted(choice.edges, chance[mine], side="right")
            size[mine] = np.minimum(size[mine], choice.tokens[number])
            parts[mine] = choice.parts
        absent = self.null[span] & null[of]
        gone = np.where(absent, 0, self.length[span] - size)
        lost = gone * self.weight[span] * parts
        return Kept(of, self.run[span], size, gone, lost, absent)


def _choice(
    name: str, how: Kind | int, vocabulary: Vocabulary, modalities: Mapping[str, Modality]
) -> _Choice:
    lengths = nested_lengths(name, modalities)
    if isinstance(how, str):
        weight = shares(how, lengths)
    else:
        keep = longest(lengths, how)
        weight = [float(length == keep) for length in lengths]
    block = vocabulary.block(name)
    edges = np.minimum(np.cumsum(weight)[:-1] * 2.0**64, 2.0**64 - 2048)  # the largest float below 2**64
    return _Choice(
        np.array(lengths) * block.stride,
        edges.astype(np.uint64),
        np.array(weight),
        block.width if block.stacked else 1,
    )
