"""The body codes of a block in a stream of documents: what losses and baselines are measured on.

Marks are left out, and so is everything without loss weight. Codes with parts stay in their part's own range.
A stream is serial (see `unitok.stacking`), so that both layouts of a block give the same bodies.

    Stream: ids [N], weight [N] (of the token as a target), starts [D + 1], source [D], group [D]
    Bodies: at [n] (index into the stream), code [n], part [n], position [n], source [n], group [n]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitok.vocabulary import Vocabulary

Ints = npt.NDArray[np.int64]


class Stream(NamedTuple):
    """Documents laid end to end; those of one `group` (made of one record) stay together in a split.

    `source` counts within `names`.
    """

    ids: Ints
    weight: npt.NDArray[np.float32]
    starts: Ints
    source: Ints
    group: Ints
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        ids: Sequence[npt.NDArray[Any]],
        weight: Sequence[npt.NDArray[Any]],
        source: Sequence[int] | Ints,
        group: Sequence[int] | Ints | None = None,
        names: Sequence[str] = (),
    ) -> Stream:
        """Lay documents end to end; without `group`, every document stands alone."""
        lengths = np.array([len(document) for document in ids], dtype=np.int64)
        return cls(
            np.concatenate([np.zeros(0, np.int64), *ids]).astype(np.int64),
            np.concatenate([np.zeros(0, np.float32), *weight]).astype(np.float32),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.asarray(source, dtype=np.int64),
            np.arange(len(lengths)) if group is None else np.asarray(group, dtype=np.int64),
            tuple(names),
        )

    def numbered(self, names: Sequence[str]) -> Stream:
        """The same with `source` counting within `names`; sources that are not there come behind them."""
        all_names = [*names, *(name for name in self.names if name not in names)]
        numbers = np.array([all_names.index(name) for name in self.names], dtype=np.int64)
        return self._replace(source=numbers[self.source], names=tuple(all_names))


def joined(streams: Sequence[Stream], names: Sequence[str]) -> Stream:
    """Several streams whose sources count within `names` as one; their groups stay apart."""
    streams = [Stream.of([], [], []), *streams]
    documents = np.cumsum([0, *(len(s.source) for s in streams)])
    tokens = np.cumsum([0, *(len(s.ids) for s in streams)])
    return Stream(
        ids=np.concatenate([s.ids for s in streams]),
        weight=np.concatenate([s.weight for s in streams]),
        starts=np.concatenate(
            [[0], *(s.starts[1:] + first for s, first in zip(streams, tokens, strict=False))]
        ),
        source=np.concatenate([s.source for s in streams]),
        group=np.concatenate([s.group + first for s, first in zip(streams, documents, strict=False)]),
        names=tuple(names),
    )


class Bodies(NamedTuple):
    """One block's body codes, in stream order; `position` counts flat ids from the segment's start."""

    at: Ints
    code: Ints
    part: Ints
    position: Ints
    source: Ints
    group: Ints

    @property
    def items(self) -> int:
        """How many segments the codes belong to."""
        return int((self.position == 0).sum())

    def take(self, chosen: npt.NDArray[np.bool_]) -> Bodies:
        """The codes where `chosen` [n] is true."""
        return Bodies(*(column[chosen] for column in self))


def bodies(vocabulary: Vocabulary, stream: Stream) -> dict[str, Bodies]:
    """The body codes of every block of the vocabulary, by block name; vectorised over the stream."""
    n = len(stream.ids)
    kind = vocabulary.kind_of(stream.ids)
    lengths = np.diff(stream.starts)
    document = np.repeat(np.arange(len(lengths)), lengths)
    begins = np.ones(n, dtype=bool)
    if n:
        begins[1:] = (kind[1:] != kind[:-1]) | (document[1:] != document[:-1])
    index = np.arange(n)
    position = index - np.maximum.accumulate(np.where(begins, index, 0))
    supervised = stream.weight > 0
    supervised[stream.starts[:-1][lengths > 0]] = False  # nothing precedes a document's first token
    found = {}
    for number, block in enumerate(vocabulary.blocks.values(), start=1):
        at = np.flatnonzero((kind == number) & supervised)
        offsets = np.cumsum([0, *block.parts])[: block.width]
        part = position[at] % block.width
        found[block.name] = Bodies(
            at=at,
            code=stream.ids[at] - block.start - offsets[part],
            part=part,
            position=position[at],
            source=stream.source[document[at]],
            group=stream.group[document[at]],
        )
    return found
