"""Whether the coordinates that a model writes agree with the molecules that it writes.

    SpaceScorer(Ensembles(8), train)(written, references) -> {"n": …, "lengths": …, "reference": {…}, "floor": {…}, …}

Of coordinates (codes of `bins`, or from elsewhere; `geometry` says what each measure is):
    told         atoms that are placed by codes of their own, as a share; null where molecules bear no codes
    lengths      bonds within a tenth of their reference length, as a share
    hands        stereocentres with the hand that is written, as a share
    cis_trans    double bonds on the side that is written, as a share
    clash_free   molecules without atoms that clash, as a share
    rmsd         the smallest RMSD to `conformers` ETKDG conformers of the same molecule, Angstrom, the median
Of E3FP ids (way "e3fp1024": ids of the levels 1 and up, hashes that choose a conformer, which agrees by itself):
    told         as above
    ids          ids that the same atom has at that level in any of the conformers, as a share; also "ids_level1", …

Beside the model stand the same measures for `reference`, the coordinates of the right answers; `etkdg`, one more
conformer of each written molecule, of another seed; and `floor`, the written molecules with codes drawn at random,
each as often as in the training molecules.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rdkit import Chem

from ..posed import canonical_order, heavy, in_space
from ..rmsd import nearest
from ..told import Told, told
from ..written import Bins, Ranked, Way
from .ensembles import Ensembles
from .floor import Drawn
from .geometry import cis_trans, clashes, hands, lengths, reference_lengths
from .progress import Track, quiet

SHARES = ("lengths", "hands", "cis_trans")
Mols = Sequence[Chem.Mol | None]


class SpaceScorer:
    """Scores sets of molecules in space.

    Args:
        ensembles: makes the conformers, of each molecule once.
        train: training molecules in space, whose codes the floor is drawn from; None: no floor.
        track: shows progress.
    """

    def __init__(
        self, ensembles: Ensembles, train: Sequence[Chem.Mol] | None = None, track: Track = quiet
    ) -> None:
        self.ensembles, self.train, self.track = ensembles, train, track

    def __call__(self, written: Mols, references: Mols) -> dict[str, Any]:
        """All measures; one without anything to count is None.

        Args:
            written: what a model wrote, in space or not (`told.as_written`); None where it is no molecule.
            references: the right answers, likewise.

        Raises:
            ValueError: nothing that is written is in space, or molecules are written in two ways.
        """
        here = [heavy(mol) for mol in written if mol is not None and in_space(mol)]
        if not here:
            raise ValueError("no molecule that was written is in space: there is nothing to measure")
        codes = [told(mol) for mol in here]
        kinds = {(one.way, one.codes.shape[1]) for one in codes if one is not None}
        if len(kinds) > 1:
            raise ValueError(f"molecules are written in several ways, {sorted(kinds)}: measure them apart")
        name, parts = kinds.pop() if kinds else (None, 0)
        right = [heavy(mol) for mol in references if mol is not None and in_space(mol)]
        others = [(mol, self.ensembles.another(mol)) for mol in self.track(here, "other conformers")]
        drawn = None
        way: Way = Bins()
        if name is not None and name.startswith("e3fp"):
            way = Ranked(parts, int(name.removeprefix("e3fp")), 1)
        if self.train:
            drawn = Drawn(way, self.train)
        found: dict[str, Any] = {
            "way": name,
            "n": len(here),
            "written": len(here) / sum(mol is not None for mol in written),
            "conformers": self.ensembles.count,
        }
        found["told"] = _told(codes)
        etkdg = [other for _, other in others if other is not None]
        if isinstance(way, Ranked):
            pairs = [(mol, one.codes) for mol, one in zip(here, codes, strict=True) if one is not None]
            found |= self.ids(pairs, way, "ids")
            found["reference"] = self.ids(
                list(zip(right, way.write(right), strict=True)), way, "ids of references"
            )
            found["etkdg"] = self.ids(
                list(zip(etkdg, way.write(etkdg), strict=True)), way, "ids of conformers"
            )
            found["floor"] = drawn and self.ids(
                [(mol, drawn.codes(mol)) for mol, _ in pairs], way, "ids drawn"
            )
        else:
            found |= self.coordinates(here, "coordinates")
            found["reference"] = self.coordinates(right, "coordinates of references")
            found["etkdg"] = self.coordinates(etkdg, "coordinates of conformers")
            found["floor"] = drawn and self.coordinates(
                [drawn.placed(mol) for mol in here], "coordinates drawn"
            )
        return found

    def coordinates(self, mols: Sequence[Chem.Mol], what: str) -> dict[str, Any]:
        """Measures of molecules in space."""
        right: Counter[str] = Counter()
        total: Counter[str] = Counter()
        free, near = 0, []
        for mol in self.track(mols, what):
            shares = (lengths(mol, reference_lengths(mol)), hands(mol), cis_trans(mol))
            for name, (good, of) in zip(SHARES, shares, strict=True):
                right[name] += good
                total[name] += of
            free += clashes(mol) == 0
            known = self.ensembles(mol)
            if known is not None:
                near.append(nearest(mol, known).rmsd)
        out: dict[str, Any] = {name: right[name] / total[name] if total[name] else None for name in SHARES}
        return {
            **out,
            "clash_free": free / len(mols) if mols else None,
            "rmsd": statistics.median(near) if near else None,
            "searched": len(near),
        }

    def ids(self, mols: Sequence[tuple[Chem.Mol, Any]], way: Ranked, what: str) -> dict[str, Any]:
        """Measures of E3FP ids, int64 [atoms, levels], -1 for atoms that have none."""
        right, total, searched = np.zeros(way.levels, int), np.zeros(way.levels, int), 0
        for mol, codes in self.track(mols, what):
            known = self.ensembles(mol)
            if known is None:
                continue
            searched += 1
            order = canonical_order(mol)
            each = [Chem.Mol(known, confId=one.GetId()) for one in known.GetConformers()]
            made = np.stack(
                way.write(each)
            )  # [conformers, atoms, levels], atoms as the canonical SMILES names them
            said = codes[order]
            counted = (said >= 0) & (said < way.bits)  # the last code says that a level was not reached
            right += (counted & (made == said).any(axis=0)).sum(axis=0)
            total += counted.sum(axis=0)
        share = [float(a / b) if b else None for a, b in zip(right, total, strict=True)]
        every = float(right.sum() / total.sum()) if total.sum() else None
        return {
            "ids": every,
            **{f"ids_level{level}": one for level, one in enumerate(share, start=1)},
            "searched": searched,
        }


def _told(codes: Sequence[Told | None]) -> float | None:
    """The share of atoms that have codes, over the molecules that bear some."""
    rows = [(one.codes >= 0).all(axis=1) for one in codes if one is not None]
    return float(np.concatenate(rows).mean()) if rows else None
