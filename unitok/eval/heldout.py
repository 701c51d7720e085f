"""Held-out loss of a model: nats of every supervised token, then per kind and source on body codes alone.

Every document of the held-out stores is read once, packed into rows as in training; each sees itself alone.
Marks are counted apart, so that a loss compares with the lines of `unitok.eval.baselines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitok.data.plan import Layout, once
from unitok.data.row import Row, fill
from unitok.data.shuffle import keyed
from unitok.data.store import Piece, Store
from unitok.distributed import rank, reduce_sum, world
from unitok.eval.baselines import FOLDS, Lines, lines
from unitok.eval.bodies import Bodies, Ints, Stream, bodies, joined
from unitok.model.decoder import Decoder
from unitok.train.loss import next_parts
from unitok.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]
CHUNK = 1024
"""Positions whose logits exist at once."""


def split(stores: Mapping[str, Store], tokens: int = 20_000_000) -> Stream:
    """Documents of several stores end to end; of more than `tokens`, an even part of each store."""
    share = min(1.0, tokens / max(1, sum(store.tokens for store in stores.values())))
    found = []
    for number, store in enumerate(stores.values()):
        every = np.arange(len(store))
        # By hash, for a fixed stride would always meet the same template.
        docs = every[keyed(number, every) <= share * (2.0**64 - 1)]
        piece = store.gather(docs, np.zeros(len(docs), dtype=bool))
        ids, weight, starts = _serial(piece)
        source = np.full(len(docs), number)
        found.append(Stream(ids, weight, starts, source, _groups(store, docs), ()))
    return joined(found, list(stores))


def _serial(piece: Piece) -> tuple[Ints, Floats, Ints]:
    """Ids and weights of a piece in serial form, and where its documents start in it, [docs + 1]."""
    if piece.more is None:
        return piece.ids, piece.weight, _starts(piece.length, np.ones(len(piece.ids), np.int64))
    parts = np.concatenate([piece.ids[:, None], piece.more], axis=1)  # [n, P]
    counts = (parts >= 0).sum(1)
    return parts[parts >= 0], np.repeat(piece.weight, counts), _starts(piece.length, counts)


def _starts(length: Ints, counts: Ints) -> Ints:
    """Where documents of `length` positions [D] start once each position is `counts` ids: [D + 1]."""
    ids = np.concatenate([[0], np.cumsum(counts)])
    found: Ints = ids[np.concatenate([[0], np.cumsum(length)])]
    return found


@torch.no_grad()
def evaluate(
    decoder: Decoder,
    stores: Mapping[str, Store],
    vocabulary: Vocabulary,
    seq_len: int,
    tokens: int | None = None,
    batch: int = 4,
) -> tuple[Stream, Floats]:
    """Negative log-likelihood of every supervised code of the stores; the same on all ranks.

    Args:
        decoder: the model; its training mode is restored afterwards.
        stores: held-out sources by name.
        vocabulary: of the stores.
        seq_len: T of the rows, at least the longest document.
        tokens: read evenly spaced rows of about this many tokens; None = all.
        batch: rows at a time on each rank.

    Returns:
        The documents in the order read, serial, and nats float32 [N], nan where a code carries no loss.
    """
    if not stores:
        return Stream.of([], [], []), np.zeros(0, np.float32)
    layout, rows = _thinned(*once(stores, seq_len), seq_len, tokens)
    training = decoder.training
    decoder.eval()
    ids, weight, loss, counts = [], [], [], []
    for number, first in enumerate(range(0, rows, batch)):
        here = (layout.row >= first) & (layout.row < first + batch)
        part = Layout(*(column[here] for column in layout))
        size = min(batch, rows - first)
        row = fill(list(stores.values()), part._replace(row=part.row - first), size, seq_len, vocabulary)
        mine = number % world() == rank()
        nats = _nats(decoder, row) if mine else torch.zeros(*row.tokens.shape, 1 + vocabulary.more)
        real = row.doc >= 0
        tokens_here = row.tokens[..., None]
        parts = (tokens_here if row.more is None else torch.cat([tokens_here, row.more], -1))[real]  # [n, P]
        ids.append(parts[parts >= 0])
        counts.append((parts >= 0).sum(1))
        weight.append(_of_token(row.weight)[real].repeat_interleave(counts[-1]))
        loss.append(_of_token(nats)[real][parts >= 0])
    surplus = -(-rows // batch) % world()
    if surplus and rank() >= surplus:
        _nats(decoder, row)  # under ZeRO-3 every rank must run equally often
    decoder.train(training)
    starts = _starts(layout.length, torch.cat(counts).numpy())
    columns = (torch.cat(ids).numpy(), torch.cat(weight).numpy(), starts, layout.store, layout.doc)
    stream = Stream(*columns, names=tuple(stores))
    device = next(decoder.parameters()).device  # NCCL sums on its own devices alone
    found: Floats = reduce_sum(torch.cat(loss).to(device)).cpu().numpy()
    found[stream.weight <= 0] = np.nan
    return stream, found


def _thinned(layout: Layout, rows: int, seq_len: int, tokens: int | None) -> tuple[Layout, int]:
    """Evenly spaced rows of a layout: rows with long documents come first, so a beginning would not do."""
    if tokens is None or rows * seq_len <= tokens:
        return layout, rows
    chosen = np.arange(0, rows, -(-rows * seq_len // tokens))
    kept = Layout(*(column[np.isin(layout.row, chosen)] for column in layout))
    return kept._replace(row=np.searchsorted(chosen, kept.row)), len(chosen)


def _nats(decoder: Decoder, row: Row) -> Tensor:
    """Nats [B, T, P] of the targets of a batch of rows, part by part, 0 where there is none."""
    there = row.to(next(decoder.parameters()).device)
    chosen = there.targets >= 0
    hidden = decoder(there.tokens, there.doc, there.pos, there.side, more=there.more)[chosen]
    targets = there.targets[chosen]
    further = None if there.more is None else next_parts(there.more)[chosen]
    at = torch.split(torch.arange(len(targets), device=targets.device), CHUNK)
    loss = [decoder.nats(hidden[i], targets[i], None if further is None else further[i])[0] for i in at]
    out = torch.zeros(*row.tokens.shape, loss[0].shape[1])
    out[row.targets >= 0] = torch.cat(loss).cpu()
    return out


def _of_token(column: Tensor) -> Tensor:
    """What stands at the position before each token [B, T, ...]: a target's values, moved to the target itself."""
    return torch.cat([torch.zeros_like(column[:, :1]), column[:, :-1]], dim=1)


def _groups(store: Store, docs: Ints) -> Ints:
    """A number below len(docs) per document, the same for documents of one record.

    A store of hardly any records holds long texts in pieces, which do not repeat one another.
    """
    names: dict[str, int] = {}
    numbers = np.array([names.setdefault(store.key(int(doc)), len(names)) for doc in docs], dtype=np.int64)
    return numbers if len(names) >= 2 * FOLDS else np.arange(len(docs))


@dataclass(frozen=True)
class Measure:
    """Held-out loss of one kind (or one kind in one source) beside the lines.

    Args:
        kind: block name.
        source: name of the source; "" for all.
        nats: mean over body codes.
        codes, items: how many codes and segments it is the mean of.
        bits_per_item: total bits of an item's body codes.
        lines: the baselines on the same codes; None if the training split has no such code.
    """

    kind: str
    source: str
    nats: float
    codes: int
    items: int
    bits_per_item: float
    lines: Lines | None

    @property
    def verdict(self) -> str:
        """Where the loss stands, in words."""
        if self.lines is None:
            return "no baseline"
        under = [n for n in ("unigram", "position") if self.nats < getattr(self.lines, n)]
        return {2: "below both", 0: "above both"}.get(len(under), f"below {''.join(under)} only")

    def to_json(self) -> dict[str, Any]:
        """As plain data, the verdict included."""
        return {**asdict(self), "verdict": self.verdict}


def measure(
    loss: Floats,
    held: Stream,
    train: Stream,
    vocabulary: Vocabulary,
    cap: int = 128,
) -> list[Measure]:
    """Losses beside their lines: for each kind over all sources, then for each (kind, source).

    Args:
        loss: what `evaluate` gave for the tokens of `held`, [N].
        held, train: the two splits.
        vocabulary: the shared vocabulary.
        cap: see `baselines.lines`.
    """
    seen, asked = bodies(vocabulary, train.numbered(held.names)), bodies(vocabulary, held)
    found = []
    for name, block in vocabulary.blocks.items():
        parts = block.parts or (block.size,)
        found += _measure(name, "", loss, asked[name], seen[name], parts, cap)
        present = np.unique(asked[name].source).tolist()
        for number in present if len(present) > 1 else ():
            b, t = (x.take(x.source == number) for x in (asked[name], seen[name]))
            found += _measure(name, held.names[number], loss, b, t, parts, cap)
    return found


def _measure(
    kind: str,
    source: str,
    loss: Floats,
    b: Bodies,
    seen: Bodies,
    parts: Sequence[int],
    cap: int,
) -> list[Measure]:
    if not len(b.code):
        return []
    total = float(loss[b.at].sum(dtype=np.float64))
    bits = total / np.log(2) / max(1, b.items)
    return [
        Measure(kind, source, total / len(b.code), len(b.code), b.items, bits, lines(seen, b, parts, cap))
    ]


def marks(loss: Floats, held: Stream, vocabulary: Vocabulary) -> dict[str, float]:
    """Mean nats of the supervised marks, and how many there are."""
    chosen = (vocabulary.kind_of(held.ids) == 0) & ~np.isnan(loss)
    return {"nats": float(loss[chosen].mean()) if chosen.any() else 0.0, "count": int(chosen.sum())}


def references(
    held: Stream, train: Stream, vocabulary: Vocabulary, cap: int = 128
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """What a trainer reports beside its losses: the lines by kind, and the mean codes per item by kind."""
    found, per_item = {}, {}
    seen, asked = bodies(vocabulary, train.numbered(held.names)), bodies(vocabulary, held)
    for name, block in vocabulary.blocks.items():
        both = lines(seen[name], asked[name], block.parts or (block.size,), cap)
        if both is not None:
            found[name] = {"unigram": both.unigram, "position": both.position}
            per_item[name] = both.held_codes / max(1, both.held_items)
    return found, per_item
