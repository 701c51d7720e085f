"""Two ways to write a molecule's coordinates as codes, a few for each atom, and to read them back.

    way.parts -> sizes of an atom's codes
    way.write(mols in space) -> codes [atoms, parts] each
    way.place(mol, codes [m, parts]) -> the molecule in space; m may be smaller than its atoms

`Bins` are quantised internal coordinates (see `bins`): invertible, up to their width. `Ranked` are folded E3FP
ids of the levels above 0 (level 0 follows from the formula): hashes, so conformers are made with ETKDG, and
that one is taken whose own ids agree with most of the codes. Codes stay noted on the atoms that they placed (`told`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from rdkit import Chem

from . import bins, conformers
from .completed import completed
from .e3fp import atom_ids
from .posed import placed
from .stereo import Ints
from .told import note


class Way(Protocol):
    """How coordinates are written."""

    parts: tuple[int, ...]

    def write(self, mols: Sequence[Chem.Mol]) -> list[Ints]:
        """Codes int64 [atoms, parts] of each molecule."""
        ...

    def place(self, mol: Chem.Mol, codes: Ints) -> Chem.Mol | None:
        """The molecule with the coordinates that the codes tell; None where none can be found."""
        ...


class Bins:
    """Bond length, angle and dihedral of each atom."""

    parts: tuple[int, ...] = bins.PARTS

    def write(self, mols: Sequence[Chem.Mol]) -> list[Ints]:
        """Codes int64 [atoms, 3]."""
        return [bins.to_codes(mol, mol.GetConformer().GetPositions()) for mol in mols]

    def place(self, mol: Chem.Mol, codes: Ints) -> Chem.Mol | None:
        """What the codes say of the first atoms; distance geometry places those that have none."""
        positions = bins.from_codes(mol, codes)
        whole = len(codes) == mol.GetNumAtoms()
        out = placed(mol, positions) if whole else completed(mol, positions)
        if out is not None:
            note(out, "bins", codes)
        return out


class Ranked:
    """E3FP ids of levels 1 and up, each folded; one code more says that a level was not reached.

    Args:
        levels: the last level.
        bits: ids are folded to so many.
        count: conformers to choose among.
    """

    def __init__(self, levels: int, bits: int, count: int) -> None:
        if levels < 1:
            raise ValueError(
                f"levels={levels} is too low to write: level 0 holds no geometry, take 1 or more"
            )
        if count < 1:
            raise ValueError(f"count={count} is out of range: choose among 1 conformer or more")
        self.levels, self.bits, self.count = levels, bits, count
        self.parts = (bits + 1,) * levels

    def write(self, mols: Sequence[Chem.Mol]) -> list[Ints]:
        """Codes int64 [atoms, levels]."""
        found = atom_ids(list(mols), level=self.levels, bits=self.bits, rdkit_invariants=True)
        return [np.where(ids < 0, self.bits, ids)[:, 1:] for ids in found]

    def place(self, mol: Chem.Mol, codes: Ints) -> Chem.Mol | None:
        """The conformer of `count` whose ids agree best with the codes."""
        try:
            several = conformers.several(mol, self.count)
        except ValueError:
            return None
        each = [placed(mol, one.GetPositions()) for one in several.GetConformers()]
        agreement = [int((ids[: len(codes)] == codes).sum()) for ids in self.write(each)]
        best = each[int(np.argmax(agreement))]
        note(best, f"e3fp{self.bits}", codes)
        return best
