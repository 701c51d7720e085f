"""Questions with one of two words as answers: how well the model's likelihoods order them (ROC-AUC).

    ordered(decoder, vocabulary, modalities, records, ["yes", "no", "yes"]) -> {"auc": 0.83, "positive": "yes"}

What a greedy answer says depends on a threshold that nobody chose; the area under the receiver operating curve
(Fawcett 2006) does not, and is what MoleculeNet (Wu et al. 2018) reports for its classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unitok.data.sources import Record
from unitok.document import segment
from unitok.eval.asked import questions
from unitok.eval.likelihood import likelihoods
from unitok.modality import Modality
from unitok.model.decoder import Decoder
from unitok.vocabulary import Vocabulary


def ordered(
    decoder: Decoder,
    vocabulary: Vocabulary,
    modalities: Mapping[str, Modality],
    records: Sequence[Record],
    wanted: Sequence[str],
) -> dict[str, float | str]:
    """The AUC of the odds between two words; nothing where the answers are not of exactly two kinds.

    Args:
        wanted: the right answer of each record.
    """
    words = sorted(set(wanted))
    if len(words) != 2:
        return {}
    text = modalities[vocabulary.text or ""]
    documents, _ = questions(records, vocabulary, modalities)
    answers = [[segment(text, word)] for word in words]
    costs = likelihoods(decoder, vocabulary, [(document, answers) for document in documents.values()])
    odds = [first.nats - second.nats for first, second in costs]  # the higher, the likelier the second word
    return {"auc": auc(odds, [wanted[at] == words[1] for at in documents]), "positive": words[1]}


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """How often a positive scores above a negative, ties as half: 0 to 1, 1/2 by chance; nan if one kind is absent."""
    values, kinds = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    above, below = values[kinds], np.sort(values[~kinds])
    if not len(above) or not len(below):
        return float("nan")
    wins = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(wins.mean() / (2 * len(below)))
