"""Molecules from descriptions as MolT5 measures them, and as 3D-MolT5 does, which is easier.

    GenerationScorer()(["OCC"], ["CCO"])
        -> {"bleu": …, "exact": 1.0, "levenshtein": …, "maccs": …, "rdk": …, "morgan": …, "validity": …, "fcd": …,
            "n": 1, "stereo_free": {…}, …}

MolT5 (arXiv:2204.11817): BLEU-4 over the characters and the Levenshtein distance, in characters, of the strings as
they are, over all rows; exact is an equal InChI, as a share of all rows; validity is the share of outputs that
RDKit reads; Tanimoto similarities of MACCS keys, RDKit's path fingerprint and Morgan counts of radius 2 are means
over valid rows; FCD is between the canonical SMILES of both sides, unpaired. An empty output is invalid here.

3D-MolT5 (arXiv:2406.05797) writes both sides as canonical SMILES without stereo first and leaves invalid rows out
of every mean; its validity, 1 - invalid / valid, can be negative. These stand under `stereo_free`: never compare
the two. Of the generated molecules themselves: `uniqueness` is the share of valid outputs that are distinct,
`novelty` the share of distinct ones that are no training molecule (both by canonical SMILES).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import frechet
from .captioning import bleu, paired
from .profile import Profile, Profiles, canonical, tanimoto
from .progress import Track, quiet

FINGERPRINTS = ("maccs", "rdk", "morgan")
CHARACTERS = ((0.25,) * 4,)


class GenerationScorer:
    """Scores sets of molecules; each molecule is read once, whatever number of sets it is in.

    Args:
        fcd: whether the Frechet ChemNet distance is measured (minutes for thousands of molecules).
        track: shows progress.
    """

    def __init__(self, fcd: bool = True, track: Track = quiet) -> None:
        self.fcd = fcd
        self.track = track
        self.profiles = Profiles()
        self._activations: dict[tuple[str, ...], frechet.Floats] = {}

    def __call__(
        self, references: Sequence[str], outputs: Sequence[str], train: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """All measures of a set of SMILES; a measure without any row to count is None.

        Args:
            references, outputs: the molecule that is described and the one that was written, row by row.
            train: training molecules, for novelty.

        Raises:
            ValueError: no row, or not one output for each reference.
        """
        paired(references, outputs)
        rows = [
            (self.profiles(reference), self.profiles(output))
            for reference, output in self.track(list(zip(references, outputs, strict=True)), "molecules")
        ]
        known = [(a, b) for a, b in rows if a and b]
        found = strings(references, outputs)
        found["exact"] = sum(a.same(b) for a, b in known) / len(rows)
        found |= similarities(known)
        found["validity"] = sum(b is not None for _, b in rows) / len(rows)
        if self.fcd:
            found |= self._frechet([a for a, _ in rows if a], [b for _, b in rows if b])
        found |= self._variety([b for _, b in rows if b], train)
        return {**found, "n": len(rows), "stereo_free": self._stereo_free(rows)}

    def similarity(self, reference: str, output: str) -> float | None:
        """Morgan similarity of one row; None if either is no molecule."""
        a, b = self.profiles(reference), self.profiles(output)
        return tanimoto(a.morgan, b.morgan) if a and b else None

    def _stereo_free(self, rows: Sequence[tuple[Profile | None, Profile | None]]) -> dict[str, Any]:
        bad = sum(b is None for _, b in rows)
        texts = [(a.flat, b.flat) for a, b in rows if a and b]
        if not texts:
            empty = dict.fromkeys(("bleu", "levenshtein", "exact", *FINGERPRINTS, "validity"))
            return {**empty, "n": 0}
        both = [(self.profiles(a), self.profiles(b)) for a, b in self.track(texts, "without stereo")]
        known = [(a, b) for a, b in both if a and b]
        bad += len(both) - len(known)  # RDKit does not read every SMILES that it writes
        found = strings(*zip(*texts, strict=True))
        found["exact"] = sum(a.same(b) for a, b in known) / len(texts)
        return {**found, **similarities(known), "validity": 1 - bad / len(texts), "n": len(texts)}

    def _frechet(self, wanted: Sequence[Profile], written: Sequence[Profile]) -> dict[str, Any]:
        try:
            sides = [self._activated(tuple(one.canonical for one in side)) for side in (wanted, written)]
        except frechet.NoFrechet as error:
            return {"fcd": None, "fcd_reason": str(error)}
        return {"fcd": frechet.distance(*sides)}

    def _activated(self, smiles: tuple[str, ...]) -> frechet.Floats:
        """Activations of a set; those of the references serve every set that is compared with them."""
        if smiles not in self._activations:
            self._activations[smiles] = frechet.activations(smiles, self.track)
        return self._activations[smiles]

    def _variety(self, written: Sequence[Profile], train: Iterable[str] | None) -> dict[str, Any]:
        distinct = {one.canonical for one in written}
        found = {"uniqueness": len(distinct) / len(written) if written else None}
        if train is not None:
            seen = {canonical(smiles) for smiles in self.track(list(train), "training molecules")}
            found["novelty"] = len(distinct - seen) / len(distinct) if distinct else None
        return found


def strings(references: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
    """BLEU-4 over characters and mean Levenshtein distance in characters."""
    from rapidfuzz.distance import Levenshtein

    edits = [Levenshtein.distance(a, b) for a, b in zip(references, outputs, strict=True)]
    (score,) = bleu([list(one) for one in references], [list(one) for one in outputs], CHARACTERS)
    return {"bleu": score, "levenshtein": float(np.mean(edits))}


def similarities(rows: Sequence[tuple[Profile, Profile]]) -> dict[str, float | None]:
    """Mean Tanimoto similarity of each fingerprint; None if there is no row."""
    if not rows:
        return dict.fromkeys(FINGERPRINTS)
    each = [
        (tanimoto(a.maccs, b.maccs), tanimoto(a.paths, b.paths), tanimoto(a.morgan, b.morgan))
        for a, b in rows
    ]
    return dict(zip(FINGERPRINTS, np.mean(each, axis=0).tolist(), strict=True))
