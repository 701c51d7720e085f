"""Which of several answers agrees most with all of them: minimum Bayes risk (Kumar and Byrne 2004).

    agreement(["a red car", "the red car", "a boat"], [1, 1, 1]) -> the second and the first before the third

Two texts agree by the F-measure of their n-grams, averaged over n = 1 to 4: a symmetric BLEU of single sentences,
which needs no smoothing. Words are what spaces separate.
"""

from __future__ import annotations

from collections.abc import Sequence

from unitok.eval.caption import ORDER, Grams, grams


def agreement(texts: Sequence[str], weights: Sequence[float]) -> list[float]:
    """Each text's weighted mean agreement with all texts, itself included: 0 to 1.

    Args:
        weights: how much each text is trusted, at least 0 and not all 0.

    Raises:
        ValueError: not one weight for each text, or none above 0.
    """
    if len(texts) != len(weights) or not sum(weights) > 0 or min(weights) < 0:
        raise ValueError(
            f"{len(texts)} texts, weights {list(weights)}: give one for each, at least 0, not all 0"
        )
    counted = [grams(text.split()) for text in texts]
    total = sum(weights)
    return [
        sum(weight * _alike(mine, other) for weight, other in zip(weights, counted, strict=True)) / total
        for mine in counted
    ]


def _alike(a: Grams, b: Grams) -> float:
    sizes, common = [0] * ORDER, [0] * ORDER
    for one, other in ((a, b), (b, a)):
        for gram, count in one.items():
            sizes[len(gram) - 1] += count
            common[len(gram) - 1] += min(count, other[gram])
    shares = [c / size for c, size in zip(common, sizes, strict=True) if size]
    return sum(shares) / len(shares) if shares else 0.0
