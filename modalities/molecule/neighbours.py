"""The most similar molecule or description of another set: examples to write from (Li et al. 2024, MolReGPT).

    like = MoleculeIndex(smiles)          like("CCO") -> place in `smiles`, or None
    like = TextIndex(texts, smiles)       like("The molecule is ...", but="CCO")
    like.several("CCO", 8)                the 8 most similar and how similar they are, the best first

Molecules are compared by Morgan fingerprints (radius 2, 2,048 bits, Tanimoto), texts by the cosine of their words'
rarities. One with the same skeleton as `but` (first 14 letters of the InChIKey) is never given: an example must
not be the answer.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from rdkit import DataStructs
from rdkit.Chem import rdFingerprintGenerator

from .structure import parsed, skeleton

RADIUS, BITS = 2, 2048
"""Of Morgan fingerprints."""


class _Index(ABC):
    """Places of items, and which of them are the same molecule."""

    def __init__(self, smiles: Sequence[str]) -> None:
        self.same: dict[str, list[int]] = defaultdict(list)
        for at, one in enumerate(smiles):
            self.same[skeleton(one) or f"none {at}"].append(at)

    @abstractmethod
    def scores(self, item: str) -> np.ndarray:
        """How alike every item is, from 0 to 1."""

    def but(self, item: str) -> str | None:
        """The molecule that is not given unless another is named."""
        return None

    def several(self, item: str, most: int, but: str | None = None) -> list[tuple[int, float]]:
        """Places and scores of the most similar ones that are another molecule than `but`; the first of equals first.

        Fewer than `most` where no more are alike.
        """
        scores = self.scores(item)
        other = self.but(item) if but is None else but
        scores[self.same.get((other and skeleton(other)) or "", [])] = -1.0
        order = np.argsort(-scores, kind="stable")[:most]
        return [(int(at), float(scores[at])) for at in order if scores[at] > 0]

    def __call__(self, item: str, but: str | None = None) -> int | None:
        """The place of the most similar one that is another molecule than `but`, the first of equals.

        Of a molecule's index, `but` is by default the molecule asked for; `but=""` leaves none out. None where
        nothing is alike.
        """
        found = self.several(item, 1, but)
        return found[0][0] if found else None


class MoleculeIndex(_Index):
    """Molecules to look among."""

    def __init__(self, smiles: Sequence[str]) -> None:
        super().__init__(smiles)
        self.bits = [morgan(one) for one in smiles]

    def but(self, item: str) -> str:
        """The molecule asked for itself."""
        return item

    def scores(self, item: str) -> np.ndarray:
        """Tanimoto similarities [n] to a SMILES."""
        return np.array(DataStructs.BulkTanimotoSimilarity(morgan(item), self.bits), dtype=float)


class TextIndex(_Index):
    """Descriptions to look among; with `smiles`, each is of one molecule. Words count by tf-idf, log((1 + n) / (1 + df)) + 1."""

    def __init__(self, texts: Sequence[str], smiles: Sequence[str] = ()) -> None:
        super().__init__(smiles)
        counts = [Counter(words(text)) for text in texts]
        spread = Counter(word for count in counts for word in count)
        self.rarity = {word: math.log((1 + len(texts)) / (1 + n)) + 1 for word, n in spread.items()}
        self.size = len(texts)
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for at, count in enumerate(counts):
            for word, weight in self._unit(count).items():
                found[word].append((at, weight))
        self.postings = {
            word: (np.array([at for at, _ in rows]), np.array([weight for _, weight in rows]))
            for word, rows in found.items()
        }

    def _unit(self, count: Counter[str]) -> dict[str, float]:
        weights = {word: n * self.rarity[word] for word, n in count.items() if word in self.rarity}
        length = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}

    def scores(self, item: str) -> np.ndarray:
        """Cosines [n] to a text."""
        scores = np.zeros(self.size)
        for word, weight in self._unit(Counter(words(item))).items():
            places, theirs = self.postings[word]
            scores[places] += weight * theirs
        return scores


def examples(
    smiles: Sequence[str],
    texts: Sequence[str],
    train: tuple[Sequence[str], Sequence[str]],
    by: str,
    place: int = 1,
) -> list[tuple[str, str] | None]:
    """For each molecule and description a similar training one, (SMILES, description).

    Args:
        smiles, texts: what examples are sought for.
        train: SMILES and descriptions to look among.
        by: "molecule" or "text", what is compared.
        place: 1 for the most similar one, 2 for the next; the last where fewer are alike.

    Raises:
        ValueError: a place below 1.
    """
    if place < 1:
        raise ValueError(f"example {place} is out of range: 1 is the most similar one")
    if by == "molecule":
        by_molecule = MoleculeIndex(train[0])
        found = [by_molecule.several(one, place) for one in smiles]
    else:
        by_text = TextIndex(train[1], train[0])
        found = [by_text.several(text, place, but=one) for one, text in zip(smiles, texts, strict=True)]
    return [(train[0][near[-1][0]], train[1][near[-1][0]]) if near else None for near in found]


def nearness(candidates: Sequence[str], others: Sequence[str], weights: Sequence[float]) -> list[float]:
    """Each candidate's weighted mean Tanimoto similarity to other molecules, 0 to 1; 0 for what is no molecule.

    Raises:
        ValueError: not one weight for each of the others, or none above 0.
    """
    if len(others) != len(weights) or not sum(weights) > 0:
        raise ValueError(
            f"{len(others)} molecules to compare with, weights {list(weights)}: give one for each, not all 0"
        )
    bits = [morgan(one) for one in others]
    scores = [DataStructs.BulkTanimotoSimilarity(morgan(one), bits) for one in candidates]
    return [float(np.average(row, weights=weights)) for row in scores]


def morgan(smiles: str) -> DataStructs.ExplicitBitVect:
    """The fingerprint that molecules are compared by; empty for what is no molecule."""
    mol = parsed(smiles)
    if mol is None:
        return DataStructs.ExplicitBitVect(BITS)
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS).GetFingerprint(mol)


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"\w+", text.lower())
