"""What copying answers of the training set scores, and what knowing nothing of the question does.

Molecule -> text: the description of the training molecule with the nearest Morgan fingerprint, and as a floor one
text for all, the commonest words of training descriptions. Text -> molecule: the molecule of the training
description with the nearest TF-IDF vector (Salton & Buckley 1988), and as a floor a training molecule drawn at random.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from ..neighbours import MoleculeIndex, TextIndex
from ..structure import skeleton
from .progress import Track, quiet


def nearest(train: Sequence[str], test: Sequence[str], track: Track = quiet) -> list[int]:
    """For each test SMILES the index of the training SMILES with the most similar Morgan fingerprint.

    The first of equals. A SMILES that is no molecule is like none, and gets the first.

    Raises:
        ValueError: no training molecule.
    """
    _some(train)
    like = MoleculeIndex(train)
    return [like(smiles, but="") or 0 for smiles in track(test, "nearest molecules")]


def nearest_text(train: Sequence[str], test: Sequence[str], track: Track = quiet) -> list[int]:
    """For each test text the index of the training text with the largest cosine of TF-IDF; the first of equals.

    Raises:
        ValueError: no training text.
    """
    _some(train)
    like = TextIndex(train)
    return [like(text) or 0 for text in track(test, "nearest descriptions")]


def unigram(train: Sequence[str]) -> str:
    """The commonest words of the training texts, most frequent first, as many as a text has on average.

    Raises:
        ValueError: no training text.
    """
    _some(train)
    counts = Counter(word for text in train for word in text.split())
    length = round(sum(counts.values()) / len(train))
    return " ".join(word for word, _ in counts.most_common(length))


def drawn(train: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """`count` training items drawn at random, with replacement.

    Raises:
        ValueError: no training item.
    """
    _some(train)
    return random.Random(seed).choices(train, k=count)


def unshared(train: Sequence[str], test: Sequence[str], track: Track = quiet) -> list[int]:
    """Indices of training SMILES whose connections no test molecule has (the first 14 letters of the InChIKey)."""
    held = {skeleton(smiles) for smiles in track(test, "test molecules")} - {None}
    return [at for at, smiles in enumerate(track(train, "shared molecules")) if skeleton(smiles) not in held]


def _some(train: Sequence[str]) -> None:
    if not train:
        raise ValueError("the training set is empty: give at least one molecule with its description")
