"""Text measures on words: exact match, token F1 (Rajpurkar et al. 2016), BLEU (Papineni et al. 2002)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Lower-case words and single punctuation marks."""
    return _WORD.findall(text.lower())


def exact_match(prediction: str, reference: str) -> float:
    """1.0 if both have the same words, else 0.0."""
    return float(words(prediction) == words(reference))


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of word precision and recall, 0 to 1; two empty texts agree."""
    a, b = Counter(words(prediction)), Counter(words(reference))
    if not a and not b:
        return 1.0
    shared = (a & b).total()
    return 2.0 * shared / (a.total() + b.total())


def bleu(predictions: Sequence[str], references: Sequence[str], order: int = 4) -> float:
    """Corpus BLEU, 0 to 1, one reference each; precisions of n > 1 are smoothed by one (Lin & Och 2004).

    Raises:
        ValueError: the two sequences differ in length.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions, {len(references)} references: give one of each")
    hits, totals = [0] * order, [0] * order
    length = target = 0
    for prediction, reference in zip(predictions, references, strict=True):
        a, b = words(prediction), words(reference)
        length, target = length + len(a), target + len(b)
        for n in range(1, order + 1):
            grams = Counter(zip(*(a[i:] for i in range(n)), strict=False))
            known = Counter(zip(*(b[i:] for i in range(n)), strict=False))
            hits[n - 1] += (grams & known).total()
            totals[n - 1] += grams.total()
    if not target and not length:
        return 1.0
    if not hits[0]:
        return 0.0
    logs = [math.log(hits[0] / totals[0])]
    logs += [math.log((h + 1) / (t + 1)) for h, t in zip(hits[1:], totals[1:], strict=True)]
    brevity = min(0.0, 1.0 - target / length)
    return math.exp(brevity + sum(logs) / order)


def scores(prediction: str, reference: str) -> dict[str, float]:
    """The measures of one pair; BLEU is that of the sentence."""
    return {
        "exact": exact_match(prediction, reference),
        "f1": token_f1(prediction, reference),
        "bleu": bleu([prediction], [reference]),
    }
