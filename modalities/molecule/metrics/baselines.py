"""What copying answers of the training set scores, and what knowing nothing of the question does.

Molecule -> text: the description of the training molecule with the nearest Morgan fingerprint, and as a floor one
text for all, the commonest words of training descriptions. Text -> molecule: the molecule of the training
description with the nearest TF-IDF vector (Salton & Buckley 1988), and as a floor a training molecule drawn at random.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from rdkit import DataStructs
from rdkit.Chem import rdFingerprintGenerator

from .profile import RADIUS, parsed, skeleton
from .progress import Track, quiet

BITS = 2048


def nearest(train: Sequence[str], test: Sequence[str], track: Track = quiet) -> list[int]:
    """For each test SMILES the index of the training SMILES with the largest Tanimoto similarity.

    Morgan fingerprints of radius 2 in 2,048 bits; the first of equals. A SMILES that is no molecule has no bit
    set, so it is like none.

    Raises:
        ValueError: no training molecule.
    """
    _some(train)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)

    def bits(smiles: str) -> DataStructs.ExplicitBitVect:
        mol = parsed(smiles)
        return DataStructs.ExplicitBitVect(BITS) if mol is None else generator.GetFingerprint(mol)

    known = [bits(smiles) for smiles in track(train, "training molecules")]
    return [
        int(np.argmax(DataStructs.BulkTanimotoSimilarity(bits(smiles), known)))
        for smiles in track(test, "nearest molecules")
    ]


def nearest_text(train: Sequence[str], test: Sequence[str], track: Track = quiet) -> list[int]:
    """For each test text the index of the training text with the largest cosine; the first of equals.

    Vectors are word counts times log((1 + n) / (1 + texts with the word)) + 1.

    Raises:
        ValueError: no training text.
    """
    _some(train)
    counts = [Counter(words(text)) for text in train]
    spread = Counter(word for count in counts for word in count)
    rarity = {word: math.log((1 + len(train)) / (1 + n)) + 1 for word, n in spread.items()}
    places: dict[str, list[int]] = defaultdict(list)
    weights: dict[str, list[float]] = defaultdict(list)
    for at, count in enumerate(counts):
        norm = math.sqrt(sum((n * rarity[word]) ** 2 for word, n in count.items()))
        for word, n in count.items():
            places[word].append(at)
            weights[word].append(n * rarity[word] / norm)
    index = {word: (np.array(places[word]), np.array(weights[word])) for word in places}
    found = []
    for text in track(test, "nearest descriptions"):
        cosine = np.zeros(len(train))  # up to a factor of the test text
        for word, n in Counter(words(text)).items():
            if word in index:
                where, weight = index[word]
                cosine[where] += n * rarity[word] * weight
        found.append(int(np.argmax(cosine)))
    return found


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


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"\w+", text.lower())


def _some(train: Sequence[str]) -> None:
    if not train:
        raise ValueError("the training set is empty: give at least one molecule with its description")
