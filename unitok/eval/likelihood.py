"""How likely a model finds given answers to given questions.

    [[own, other]] = likelihoods(decoder, vocabulary, [(question, [[yes], [no]])])
    own.nats / own.tokens                # nats per token: compare answers of different lengths by this

Counted is what training counts: the answer's codes with their marks, and the mark that ends the turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from rich.progress import track

from unitok.document import Document, Rendered, Segment, Turn
from unitok.model.decoder import Decoder
from unitok.model.embed import absent
from unitok.vocabulary import Vocabulary

TOKENS = 8192
"""Most tokens, with pads, that go through the decoder together."""


class Likelihood(NamedTuple):
    """What an answer costs: negative log-likelihood in nats, and how many tokens it has."""

    nats: float
    tokens: int


def likelihoods(
    decoder: Decoder, vocabulary: Vocabulary, asked: Sequence[tuple[Document, Sequence[Sequence[Segment]]]]
) -> list[list[Likelihood]]:
    """Costs of the answers of each question, in order.

    Args:
        asked: a chat that ends with the user, and its possible answers, each as segments.
    """
    rendered = [_answered(question, one).render(vocabulary) for question, answers in asked for one in answers]
    order = sorted(range(len(rendered)), key=lambda i: len(rendered[i].ids))
    costs: dict[int, Likelihood] = {}
    for group in track(list(_groups(order, rendered)), "likelihoods"):
        costs.update(zip(group, _costs(decoder, [rendered[i] for i in group]), strict=True))
    flat = (costs[i] for i in range(len(rendered)))
    return [[next(flat) for _ in answers] for _, answers in asked]


def _answered(question: Document, answer: Sequence[Segment]) -> Document:
    return Document((*question.turns, Turn("assistant", tuple(answer))))


def _groups(order: Sequence[int], rendered: Sequence[Rendered]) -> Iterator[list[int]]:
    """Places in groups of few enough tokens; `order` is by length."""
    group: list[int] = []
    for i in order:
        if group and (len(group) + 1) * len(rendered[i].ids) > TOKENS:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


@torch.no_grad()
def _costs(decoder: Decoder, rendered: Sequence[Rendered]) -> list[Likelihood]:
    device = decoder.lm_head.weight.device
    shape = (len(rendered), max(len(one.ids) for one in rendered))
    tokens = torch.zeros(shape, dtype=torch.int64)
    doc = torch.full(shape, -1, dtype=torch.int32)
    weight = torch.zeros(shape)
    parts = decoder.config.more
    more = torch.full((*shape, parts), -1) if parts else None
    side = {name: absent(channel, tokens) for name, channel in decoder.config.channels.items()}
    for row, one in enumerate(rendered):
        length = len(one.ids)
        tokens[row, :length], doc[row, :length], weight[row, :length] = one.ids, 0, one.weight
        if more is not None and one.more is not None:
            more[row, :length] = one.more
        for name, (at, values) in one.side.items():
            side[name][row, at] = values.to(side[name].dtype)
    tokens, doc = tokens.to(device), doc.to(device)
    pos = torch.arange(shape[1], device=device).expand(shape)
    placed = None if more is None else more.to(device)
    hidden = decoder(tokens, doc, pos, {name: one.to(device) for name, one in side.items()}, more=placed)
    rows, at = (weight[:, 1:] > 0).nonzero(as_tuple=True)  # at + 1 is counted, and predicted at `at`
    following = None if placed is None else placed[rows, at + 1]
    nats = decoder.nats(hidden[rows, at], tokens[rows, at + 1], following)[0].sum(1)
    sums = torch.zeros(len(rendered)).index_add_(0, rows, nats.float().cpu())
    counts = rows.bincount(minlength=len(rendered))
    return [Likelihood(float(total), int(n)) for total, n in zip(sums, counts, strict=True)]
