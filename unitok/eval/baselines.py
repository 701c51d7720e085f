"""Two honest lines beside a model's held-out loss: what counting alone reaches on the same codes.

The *unigram* line codes every body code by its frequency, the *position* line by its frequency at that
position of the body. Both are fitted on the training split and measured on the held-out one (cross-entropies
in nats per code): a plug-in entropy of few samples is far too low (604 pictures cannot show more than ln 604
nats at a position, whatever the code does), so it is given for reference only.

Counts of small tables are interpolated with coarser ones, `p = (n(context, code) + s * coarser) / (n(context)
+ s)` (the Dirichlet-smoothed back-off of MacKay & Peto 1995), from uniform over codes to source to position.
Order and strengths are chosen on a fifth of the training split, documents of one record kept together; the
tables are then refitted on all of it. Knowing the source makes the lines harder to beat than pooled counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unitok.eval.bodies import Bodies, Ints

Floats = npt.NDArray[np.float64]
Context = Callable[[Bodies], Ints]

STRENGTHS = (*(10.0 ** (e / 2) for e in range(-2, 9)), np.inf)
FOLDS = 5


@dataclass(frozen=True)
class Lines:
    """Nats per body code on the held-out split, beside the size of what they were counted on.

    Args:
        uniform: log of the number of codes (of the part).
        unigram, position: the two lines.
        plugin: entropy of the training codes' own frequencies: optimistic, for reference.
        used: how many different codes the training split has; `size`: how many there are.
        train_codes, held_codes, held_items: counts.
    """

    uniform: float
    unigram: float
    position: float
    plugin: float
    used: int
    size: int
    train_codes: int
    held_codes: int
    held_items: int


def lines(train: Bodies, held: Bodies, parts: Sequence[int], cap: int = 128) -> Lines | None:
    """Both lines of one block.

    Args:
        train: body codes that the tables are counted on.
        held: body codes that they are measured on.
        parts: codes per part; `(size,)` for a block without parts.
        cap: positions from this one on share one table.

    Returns:
        None if either split has no code of the block.
    """
    if not len(train.code) or not len(held.code):
        return None
    sizes = np.asarray(parts, dtype=np.int64)
    part, source, place = _contexts(sizes, cap)
    unigram = _best(train, held, sizes, [[part, source]])
    position = _best(train, held, sizes, [[part, source, place(source)], [part, place(part), place(source)]])
    return Lines(
        uniform=float(np.log(sizes[held.part]).mean()),
        unigram=unigram,
        position=position,
        plugin=_plugin(train, sizes),
        used=len(np.unique(_flat(train, sizes))),
        size=int(sizes.sum()),
        train_codes=len(train.code),
        held_codes=len(held.code),
        held_items=held.items,
    )


def _contexts(sizes: Ints, cap: int) -> tuple[Context, Context, Callable[[Context], Context]]:
    stride = len(sizes)
    limit = -(-cap // stride) * stride  # the tail keeps the parts apart

    def part(b: Bodies) -> Ints:
        return b.part

    def source(b: Bodies) -> Ints:
        return b.source * stride + b.part

    def place(within: Context) -> Context:
        def context(b: Bodies) -> Ints:
            capped = np.where(b.position < limit, b.position, limit + b.part)
            return within(b) * (limit + stride) + capped

        return context

    return part, source, place


def _flat(b: Bodies, sizes: Ints) -> Ints:
    offsets = np.cumsum(sizes) - sizes
    flat: Ints = b.code + offsets[b.part]
    return flat


def _plugin(train: Bodies, sizes: Ints) -> float:
    total = 0.0
    for j in range(len(sizes)):
        counts = np.bincount(train.code[train.part == j])
        p = counts[counts > 0] / max(1, counts.sum())
        total += float(-(p * np.log(p)).sum()) * counts.sum()
    return total / len(train.code)


def _best(train: Bodies, held: Bodies, sizes: Ints, chains: Sequence[Sequence[Context]]) -> float:
    """Held-out nats per code of the chain of tables that does best on a fifth of the training split."""
    dev = _held_apart(train.group)
    tuned = [_tune(train.take(~dev), train.take(dev), sizes, chain) for chain in chains]
    best = min(range(len(chains)), key=lambda i: tuned[i][0])
    p = 1.0 / sizes[held.part]
    for context, strength in zip(chains[best], tuned[best][1], strict=True):
        p = _interpolate(train, held, sizes, context)(p, strength)
    return float(-np.log(p).mean())


def _held_apart(group: Ints) -> npt.NDArray[np.bool_]:
    """A fifth of the groups, spread over the stream; with fewer than five, a fifth of the codes."""
    names, index = np.unique(group, return_inverse=True)
    if len(names) < FOLDS:
        index = np.arange(len(group))
    chosen: npt.NDArray[np.bool_] = index % FOLDS == FOLDS - 1
    if not chosen.any():
        chosen[-1:] = len(group) > 1
    return chosen


def _tune(fit: Bodies, dev: Bodies, sizes: Ints, chain: Sequence[Context]) -> tuple[float, list[float]]:
    """(dev nats per code, one strength per level), greedily from the coarsest level on."""
    p: Floats = 1.0 / sizes[dev.part]
    if not len(dev.code):
        return 0.0, [1.0] * len(chain)
    strengths = []
    for context in chain:
        level = _interpolate(fit, dev, sizes, context)
        tried = [level(p, s) for s in STRENGTHS]
        losses = [float(-np.log(q).mean()) for q in tried]
        best = int(np.argmin(losses))
        p = tried[best]
        strengths.append(STRENGTHS[best])
    return float(-np.log(p).mean()), strengths


def _interpolate(
    train: Bodies, held: Bodies, sizes: Ints, context: Context
) -> Callable[[Floats, float], Floats]:
    """A function (coarser probabilities [n], strength) -> this level's probabilities of held codes."""
    total = int(sizes.sum())
    near, at = context(train), context(held)
    joint = _look_up(near * total + _flat(train, sizes), at * total + _flat(held, sizes))
    alone = _look_up(near, at)

    def level(coarser: Floats, strength: float) -> Floats:
        if np.isinf(strength):
            return coarser
        p: Floats = (joint + strength * coarser) / (alone + strength)
        return p

    return level


def _look_up(seen: Ints, asked: Ints) -> Floats:
    """How often each of `asked` occurs in `seen`, as floats."""
    keys, counts = np.unique(seen, return_counts=True)
    if not len(keys):
        return np.zeros(len(asked))
    slot = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    found: Floats = np.where(keys[slot] == asked, counts[slot], 0).astype(np.float64)
    return found
