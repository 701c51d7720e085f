"""Molecule captioning as MolT5 measures it (Edwards et al., arXiv:2204.11817, evaluation of ChEBI-20).

    CaptionScorer()(["The molecule is ethanol."], ["The molecule is an alcohol."])
        -> {"bleu2": …, "bleu4": …, "rouge1": …, "rouge2": …, "rougeL": …, "meteor": …, "wordnet": "3.0", "n": 1}

BLEU-2 and BLEU-4 of the corpus (Papineni et al. 2002; one reference, no smoothing) and METEOR (Banerjee & Lavie
2005; exact, stem and synonym matches, mean over rows) are over SciBERT word pieces; ROUGE-1, -2 and -L (Lin 2004)
over plain words without stemming, mean F-measure. All are 0 to 1. Where no WordNet can be had METEOR is None
and `meteor_reason` says why: a METEOR without synonyms is another number.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...common import wordnet
from .pieces import pieces
from .progress import Track, quiet

ORDERS = {"bleu2": (1 / 2,) * 2, "bleu4": (1 / 4,) * 4}
ROUGE = ("rouge1", "rouge2", "rougeL")

Tokens = Sequence[Sequence[str]]


class CaptionScorer:
    """Scores sets of captions; WordNet is opened once.

    Args:
        root: where WordNet is kept, as in `wordnet.folder`.
        track: shows progress.
    """

    def __init__(self, root: Path | None = None, track: Track = quiet) -> None:
        self.track = track
        self.reason: str | None = None
        try:
            self.synonyms = wordnet.reader(wordnet.folder(root))
        except wordnet.NoWordNet as error:
            self.synonyms, self.reason = None, str(error)

    def __call__(self, references: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
        """All measures of a set, and `n`, how many rows it has.

        Raises:
            ValueError: no row, or not one output for each reference.
        """
        paired(references, outputs)
        wanted, written = pieces(references), pieces(outputs)
        found: dict[str, Any] = dict(zip(ORDERS, bleu(wanted, written, tuple(ORDERS.values())), strict=True))
        found |= rouge(references, outputs, self.track)
        if self.synonyms is None:
            return {**found, "meteor": None, "meteor_reason": self.reason, "n": len(outputs)}
        found["meteor"] = meteor(wanted, written, self.synonyms, self.track)
        return {**found, "wordnet": self.synonyms.get_version(), "n": len(outputs)}


def paired(references: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse sets that cannot be compared.

    Raises:
        ValueError: no row, or not one output for each reference.
    """
    if not references or len(references) != len(outputs):
        raise ValueError(
            f"{len(references)} references and {len(outputs)} outputs: give one of each, at least one"
        )


def bleu(wanted: Tokens, written: Tokens, weights: Sequence[Sequence[float]]) -> list[float]:
    """Corpus BLEU for each tuple of weights over orders, 0 to 1.

    Args:
        wanted: tokens of the one reference of each row.
        written: tokens of each output.
    """
    from nltk.translate.bleu_score import corpus_bleu

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that an order has no match: the score says so
        found = corpus_bleu([[row] for row in wanted], list(written), list(weights))
    return [float(one) for one in (found if isinstance(found, list) else [found])]


def rouge(references: Sequence[str], outputs: Sequence[str], track: Track = quiet) -> dict[str, float]:
    """Mean F-measures of ROUGE-1, -2 and -L over raw strings."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), use_stemmer=False)
    total = dict.fromkeys(ROUGE, 0.0)
    for reference, output in track(list(zip(references, outputs, strict=True)), "ROUGE"):
        for name, score in scorer.score(reference, output).items():
            total[name] += score.fmeasure
    return {name: value / len(outputs) for name, value in total.items()}


def meteor(wanted: Tokens, written: Tokens, synonyms: Any, track: Track = quiet) -> float:
    """Mean METEOR over rows with alpha .9, beta 3, gamma .5.

    Args:
        wanted, written: tokens of each row.
        synonyms: reader of WordNet.
    """
    from nltk.translate.meteor_score import single_meteor_score

    rows = list(zip(wanted, written, strict=True))
    scores = [float(single_meteor_score(a, b, wordnet=synonyms)) for a, b in track(rows, "METEOR")]
    return sum(scores) / len(scores)
