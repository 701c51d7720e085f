"""Caption measures over several references, as the COCO caption evaluation has them (Chen et al., arXiv:1504.00325).

    measures(["a red car"], [["a red car .", "the car is red"]])
        -> {"bleu1": …, "bleu2": …, "bleu3": …, "bleu4": …, "rouge_l": …, "cider": …}

BLEU (Papineni et al. 2002) of the corpus with the reference length nearest to the candidate's; ROUGE-L (Lin
2004) with beta 1.2, the best precision and the best recall over the references; CIDEr (Vedantam et al.,
arXiv:1411.5726) in the clipped, length-penalised form that everybody reports, whose weights come from the
references given: it belongs to a whole set, so never average it over parts of one. Words are what spaces
separate; `unitok.eval.text.words` can put a text into that form first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

ORDER = 4
SIGMA = 6.0
BETA = 1.2
TINY = 1e-15
SMALL = 1e-9

Words = Sequence[str]
Grams = Counter[tuple[str, ...]]


def measures(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """All measures of a set of captions.

    Args:
        predictions: one text for each item.
        references: one or more texts for each item.

    Raises:
        ValueError: not one list of references for each prediction, or an item without any.
    """
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            f"{len(predictions)} predictions, {len(references)} lists of references: give one of each, at least one"
        )
    if any(not texts for texts in references):
        raise ValueError("an item has no reference: give at least one for each")
    written = [text.split() for text in predictions]
    wanted = [[text.split() for text in texts] for texts in references]
    found = {f"bleu{n}": value for n, value in enumerate(bleu(written, wanted), start=1)}
    rouge = [rouge_l(one, several) for one, several in zip(written, wanted, strict=True)]
    return {**found, "rouge_l": sum(rouge) / len(rouge), "cider": cider(written, wanted)}


def bleu(written: Sequence[Words], wanted: Sequence[Sequence[Words]]) -> list[float]:
    """BLEU-1 to BLEU-4 of the whole set, each 0 to 1."""
    hits, totals = [0] * ORDER, [0] * ORDER
    length = target = 0
    for words, several in zip(written, wanted, strict=True):
        length += len(words)
        target += min((abs(len(one) - len(words)), len(one)) for one in several)[1]
        known: Grams = Counter()
        for one in several:
            known |= grams(one)
        for gram, count in grams(words).items():
            totals[len(gram) - 1] += count
            hits[len(gram) - 1] += min(count, known[gram])
    ratio = (length + TINY) / (target + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    found, product = [], 1.0
    for n in range(ORDER):
        product *= (hits[n] + TINY) / (totals[n] + SMALL)
        found.append(product ** (1 / (n + 1)) * brevity)
    return found


def rouge_l(words: Words, several: Sequence[Words]) -> float:
    """ROUGE-L of one text, 0 to 1: the longest common subsequence against each reference."""
    common = [_common(words, one) for one in several]
    precision = max(c / len(words) if words else 0.0 for c in common)
    recall = max(c / len(one) if one else 0.0 for c, one in zip(common, several, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def cider(written: Sequence[Words], wanted: Sequence[Sequence[Words]]) -> float:
    """CIDEr of the whole set: 0, or more the better; 10 if every text equals its only reference."""
    seen: Grams = Counter()
    for several in wanted:
        seen.update({gram for one in several for gram in grams(one)})
    total = math.log(len(wanted))
    value = 0.0
    for words, several in zip(written, wanted, strict=True):
        mine = _Weighed(words, seen, total)
        value += sum(mine.likeness(_Weighed(one, seen, total)) for one in several) / len(several)
    return 10 * value / len(written)


class _Weighed:
    """A text's n-grams, each count times the rarity of the n-gram among the references."""

    def __init__(self, words: Words, seen: Grams, total: float) -> None:
        self.weight: list[dict[tuple[str, ...], float]] = [{} for _ in range(ORDER)]
        for gram, count in grams(words).items():
            self.weight[len(gram) - 1][gram] = count * (total - math.log(max(1, seen[gram])))
        self.norm = [math.sqrt(sum(w * w for w in weights.values())) for weights in self.weight]
        self.pairs = max(0, len(words) - 1)  # the length that the penalty compares: bigrams

    def likeness(self, other: _Weighed) -> float:
        """Mean over n of the cosine with the counts clipped to the other's, under the penalty for length."""
        penalty = math.exp(-((self.pairs - other.pairs) ** 2) / (2 * SIGMA**2))
        value = 0.0
        for mine, theirs, a, b in zip(self.weight, other.weight, self.norm, other.norm, strict=True):
            dot = sum(min(w, theirs[gram]) * theirs[gram] for gram, w in mine.items() if gram in theirs)
            value += dot / (a * b) if a and b else dot
        return value * penalty / ORDER


def grams(words: Words) -> Grams:
    """All n-grams of 1 to 4 words with their counts."""
    return Counter(tuple(words[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(words) - n + 1))


def _common(a: Words, b: Words) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b, start=1):
            corner, row[j] = row[j], corner + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]
