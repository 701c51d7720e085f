"""One of several candidate answers, by how much they agree and how likely the model finds each.

    places = votes(decoder, vocabulary, [Ballot(question, ["a red car", "a boat"], [1.0, 0.3])], text)

The score of a candidate is `trust` times its agreement with all (see `agreement`) minus its nats per token. The
candidates may be the model's own answers, and what is known of similar items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unitok.document import Document, segment
from unitok.eval.agreement import agreement
from unitok.eval.likelihood import likelihoods
from unitok.modality import Modality
from unitok.model.decoder import Decoder
from unitok.vocabulary import Vocabulary


class Ballot(NamedTuple):
    """A question, texts that may answer it, and how much each of them is trusted.

    Without a question (which the vocabulary may not be able to encode) agreement alone decides.
    """

    question: Document | None
    candidates: Sequence[str]
    weights: Sequence[float]


def votes(
    decoder: Decoder, vocabulary: Vocabulary, text: Modality, ballots: Sequence[Ballot], trust: float
) -> list[list[float]]:
    """Scores of each ballot's candidates; the highest is to be taken.

    Args:
        text: the vocabulary's text, which encodes the candidates.
        trust: nats per token that full agreement is worth.
    """
    put = [(one.question, one.candidates) for one in ballots if one.question is not None]
    texts = {said for _, candidates in put for said in candidates}  # many stand on several ballots
    encoded = {said: [segment(text, said)] for said in texts}
    asked = [(question, [encoded[said] for said in candidates]) for question, candidates in put]
    costs = iter(likelihoods(decoder, vocabulary, asked))
    out = []
    for one in ballots:
        agreed = agreement(one.candidates, one.weights)
        nats = [0.0] * len(agreed) if one.question is None else [c.nats / c.tokens for c in next(costs)]
        out.append([trust * share - cost for share, cost in zip(agreed, nats, strict=True)])
    return out
