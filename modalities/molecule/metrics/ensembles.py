"""ETKDG conformers of molecules that coordinates are measured against, each molecule searched once.

ensembles = Ensembles(8)
ensembles(mol) -> the same molecule with up to 8 conformers      ensembles.another(mol) -> with one, of another seed
"""

from __future__ import annotations

from rdkit import Chem

from .. import structure
from ..conformers import Params, several
from ..posed import heavy

COUNT = 8
SEARCH, OTHER = Params(seed=100_003, attempts=1, seconds=10), Params(seed=299_993, attempts=1, seconds=10)
"""One attempt: what a model writes may have no conformer, and then it is counted and left. Neither seed is that of
`conformers.embed`, so that coordinates of training data are not among the conformers that they are compared with."""


class Ensembles:
    """Conformers of molecules.

    Args:
        count: of each molecule, 1 and up.
    """

    def __init__(self, count: int = COUNT) -> None:
        if count < 1:
            raise ValueError(f"{count} conformers are out of range: 1 and up")
        self.count = count
        self._known: dict[tuple[str, bool], Chem.Mol | None] = {}

    def __call__(self, mol: Chem.Mol) -> Chem.Mol | None:
        """The molecule with its conformers, atoms as its canonical SMILES names them; None where none is found."""
        return self._made(mol, False)

    def another(self, mol: Chem.Mol) -> Chem.Mol | None:
        """One conformer that is none of these."""
        return self._made(mol, True)

    def _made(self, mol: Chem.Mol, other: bool) -> Chem.Mol | None:
        key = structure.canonical(heavy(mol)), other
        if key not in self._known:
            try:
                bare = structure.from_smiles(key[0])
                self._known[key] = several(bare, 1, OTHER) if other else several(bare, self.count, SEARCH)
            except ValueError:
                self._known[key] = None
        return self._known[key]
