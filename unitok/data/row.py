"""Rows: what the model is fed. Documents of a layout are gathered from their stores into arrays of T positions.

    tokens   int64 [T]     `pad` behind the last document
    targets  int64 [T]     the next token of the same document; -1 where none carries loss
    weight   float32 [T]   loss weight of the target, 0 where there is none
    kind     uint8 [T]     kind of the target (see `Vocabulary.kinds`), 0 where there is none
    doc      int32 [T]     number of the document within the row, -1 on pads
    pos      int64 [T]     position within the document, 0 on pads
    side     {channel: [T, width]}   int64 companions, -1 absent; or float32 features, 0 absent
    more     int64 [T, more]         further parts of stacked positions, -1 absent; None if nothing is stacked

The further parts of a target are those of the next position, where they also serve as input.
A batch is a Row whose tensors are [B, T, ...].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitok.data.arrays import Array, ranges
from unitok.data.cuts import Cuts
from unitok.data.plan import Layout, once
from unitok.data.store import Store
from unitok.modality import Side
from unitok.stacking import serial
from unitok.vocabulary import Vocabulary


class Row(NamedTuple):
    """One row [T], or a batch of rows [B, T]; see the module."""

    tokens: Tensor
    targets: Tensor
    weight: Tensor
    kind: Tensor
    doc: Tensor
    pos: Tensor
    side: dict[str, Tensor]
    more: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Row:
        """The row with every tensor changed."""
        side = {name: change(value) for name, value in self.side.items()}
        tokens, targets, weight = change(self.tokens), change(self.targets), change(self.weight)
        kind, doc, pos = change(self.kind), change(self.doc), change(self.pos)
        more = None if self.more is None else change(self.more)
        return Row(tokens, targets, weight, kind, doc, pos, side, more)

    def part(self, start: int, stop: int) -> Row:
        """Rows [start, stop) of a batch."""
        return self.each(lambda column: column[start:stop])

    def to(self, device: torch.device | str) -> Row:
        """The same on a device."""
        return self.each(lambda column: column.to(device, non_blocking=True))


def collate(rows: Sequence[Row]) -> Row:
    """A batch [B, T] of rows [T]."""
    more = [row.more for row in rows if row.more is not None]
    return Row(
        tokens=torch.stack([row.tokens for row in rows]),
        targets=torch.stack([row.targets for row in rows]),
        weight=torch.stack([row.weight for row in rows]),
        kind=torch.stack([row.kind for row in rows]),
        doc=torch.stack([row.doc for row in rows]),
        pos=torch.stack([row.pos for row in rows]),
        side={name: torch.stack([row.side[name] for row in rows]) for name in rows[0].side},
        more=torch.stack(more) if more else None,
    )


def fill(
    stores: Sequence[Store],
    layout: Layout,
    rows: int,
    seq_len: int,
    vocabulary: Vocabulary,
    cuts: Sequence[Cuts | None] = (),
    seed: int = 0,
) -> Row:
    """The batch [rows, seq_len] that a layout describes.

    Args:
        stores: in the order that `layout.store` counts.
        layout: from `Plan.layout` or `plan.once`.
        rows: B.
        seq_len: T.
        vocabulary: gives the pad and the channels; channels that no document has are there, absent throughout.
        cuts, seed: the plan's, if it cuts nested items.
    """
    size = rows * seq_len
    tokens = np.full(size, vocabulary.mark("pad"), np.int64)
    targets = np.full(size, -1, np.int64)
    weight = np.zeros(size, np.float32)
    kind = np.zeros(size, np.uint8)
    doc = np.full(size, -1, np.int32)
    pos = np.zeros(size, np.int64)
    side = {name: _absent(channel, size) for name, channel in vocabulary.channels.items()}
    more = np.full((size, vocabulary.more), -1, np.int64) if vocabulary.more else None
    for number, store in enumerate(stores):
        mine = np.flatnonzero(layout.store == number)
        if not len(mine):
            continue
        cut = cuts[number] if cuts else None
        which, null = layout.doc[mine], layout.null[mine]
        kept = None if cut is None else cut.of(which, layout.draw[mine], null, seed)
        piece = store.gather(which, null, kept)
        at = ranges(layout.row[mine] * seq_len + layout.offset[mine], piece.length)
        last = np.cumsum(piece.length) - 1  # no target follows the last token of a document
        loss = np.append(piece.weight[1:], np.float32(0))
        loss[last] = 0
        has = loss != 0
        tokens[at] = piece.ids
        targets[at] = np.where(has, np.append(piece.ids[1:], -1), -1)
        weight[at] = loss
        kind[at] = np.where(has, np.append(piece.kind[1:], np.uint8(0)), np.uint8(0))
        doc[at] = np.repeat(layout.place[mine], piece.length)
        pos[at] = ranges(np.zeros(len(mine)), piece.length)
        for name, (where, value) in piece.side.items():
            side[name][at[where]] = value
        if more is not None and piece.more is not None:
            more[at] = piece.more
    return Row(
        tokens=_tensor(tokens, rows),
        targets=_tensor(targets, rows),
        weight=_tensor(weight, rows),
        kind=_tensor(kind, rows),
        doc=_tensor(doc, rows),
        pos=_tensor(pos, rows),
        side={name: _tensor(value, rows) for name, value in side.items()},
        more=None if more is None else _tensor(more, rows),
    )


def unpack(row: Row) -> list[Tensor]:
    """The ids of every document of a row [T], in order; parts of a stacked position one after another."""
    found = []
    for number in range(int(row.doc.max()) + 1):
        here = row.doc == number
        found.append(serial(row.tokens[here], None if row.more is None else row.more[here]))
    return found


def every_row(stores: Mapping[str, Store], seq_len: int, vocabulary: Vocabulary, batch: int) -> Iterator[Row]:
    """All documents of the stores exactly once, packed, as batches of at most `batch` rows. For evaluation."""
    layout, rows = once(stores, seq_len)
    for first in range(0, rows, batch):
        count = min(batch, rows - first)
        part = Layout(*(column[(layout.row >= first) & (layout.row < first + count)] for column in layout))
        yield fill(list(stores.values()), part._replace(row=part.row - first), count, seq_len, vocabulary)


def _absent(channel: Side, size: int) -> Array:
    if channel.kind == "ids":
        return np.full((size, channel.width), -1, np.int64)
    return np.zeros((size, channel.width), np.float32)


def _tensor(column: Array, rows: int) -> Tensor:
    return torch.from_numpy(column.reshape(rows, -1, *column.shape[1:]))
