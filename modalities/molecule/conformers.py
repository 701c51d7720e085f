"""Conformers of molecules, the same on every run, kept on disk.

    embed(mol) -> the molecule with one conformer         several(mol, 16) -> with up to 16
    Conformers("folder").get(items, workers=8) -> (molecules or None, failures)

Hydrogens are added for the search (`etkdg`) and left out of the result, whose atoms stand as in the molecule given.
The search runs over the canonical SMILES' atoms, so a molecule gets the same conformer however it is written, alone
or among others, with any number of workers. Coordinates that an item has (3D) are used as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rdkit import Chem

from . import structure
from .conformer_pool import searched
from .conformer_store import Row, Store
from .etkdg import NoConformer, Params, Positions, search
from .posed import canonical_order, heavy, in_space, placed

__all__ = ["Conformers", "Failure", "Params", "embed", "several"]


class Failure(NamedTuple):
    """An item without a conformer: its place in the list, from 0, its SMILES (or what was given), and why."""

    place: int
    smiles: str
    reason: str


def embed(mol: Chem.Mol, params: Params = Params()) -> Chem.Mol:  # noqa: B008  frozen
    """The molecule without hydrogens, with one conformer.

    Raises:
        ValueError: none is found; the sentence names the molecule.
    """
    if in_space(mol):
        bare = heavy(mol)
        return placed(bare, bare.GetConformer().GetPositions())
    return several(mol, 1, params)


def several(mol: Chem.Mol, count: int, params: Params = Params()) -> Chem.Mol:  # noqa: B008
    """The molecule without hydrogens, with 1 to `count` conformers that the search found, numbered from 0.

    Raises:
        ValueError: none is found, or a `count` below 1.
    """
    if count < 1:
        raise ValueError(f"count={count} is out of range: 1 and up")
    bare = heavy(mol)
    bare.RemoveAllConformers()
    return _with(bare, search(structure.canonical(bare), count, params))


def _with(bare: Chem.Mol, found: Sequence[Positions]) -> Chem.Mol:
    """The molecule with these conformers, whose atoms stand as its canonical SMILES names them."""
    order = canonical_order(bare)
    if any(len(one) != len(order) for one in found):
        raise NoConformer(f"{structure.canonical(bare)} is not read back with the same atoms: leave it out")
    out: Chem.Mol | None = None
    for number, one in enumerate(found):
        positions = np.empty((len(order), 3))
        positions[order] = one
        posed = placed(bare, positions)
        if out is None:
            out = posed
        else:
            conformer = Chem.Conformer(posed.GetConformer())
            conformer.SetId(number)
            out.AddConformer(conformer)
    assert out is not None
    return out


class Conformers:
    """One conformer for each molecule, made once.

    Args:
        folder: where they are kept; None: in memory.
        params: how those that are missing are made.
    """

    def __init__(self, folder: str | Path | None = None, params: Params | None = None) -> None:
        self.params = params or Params()
        self.store = Store(folder, self.params.key)

    def get(
        self, items: Sequence[str | Chem.Mol], workers: int = 1, progress: bool = False
    ) -> tuple[list[Chem.Mol | None], list[Failure]]:
        """A molecule with one conformer for each SMILES or Mol, its atoms as given; None where there is none.

        Raises:
            OSError: the folder cannot be read or written.
        """
        mols, failures = self._parsed(items)
        names = [structure.canonical(mol) if mol is not None and not in_space(mol) else None for mol in mols]
        rows = self._rows([name for name in names if name is not None], workers, progress)
        out: list[Chem.Mol | None] = []
        for index, (mol, name) in enumerate(zip(mols, names, strict=True)):
            if mol is None or name is None:
                out.append(mol and embed(mol))
                continue
            try:
                found = rows[name]
                if found.positions is None:
                    raise NoConformer(found.reason)
                out.append(_with(mol, [found.positions]))
            except NoConformer as error:
                failures.append(Failure(index, name, str(error)))
                out.append(None)
        return out, sorted(failures)

    def one(self, item: str | Chem.Mol) -> Chem.Mol:
        """A single one.

        Raises:
            ValueError: there is none; the sentence says why.
        """
        (mol,), failures = self.get([item])
        if mol is None:
            raise ValueError(failures[0].reason)
        return mol

    def keep(self, mols: Sequence[Chem.Mol]) -> None:
        """Take the coordinates that these molecules have as their conformers, in place of others.

        Raises:
            ValueError: a molecule without 3D coordinates.
        """
        rows = {}
        for mol in mols:
            if not in_space(mol):
                raise ValueError(f"{structure.canonical(mol)} has no 3D coordinates: embed it first")
            bare = heavy(mol)
            positions = bare.GetConformer().GetPositions()[canonical_order(bare)]
            rows[structure.canonical(bare)] = Row(positions.astype(np.float32))
        self.store.add(rows)

    def prepare(self, smiles: Sequence[str], workers: int = 1, progress: bool = False) -> list[Failure]:
        """As `get`, for later: the molecules are not built."""
        mols, failures = self._parsed(smiles)
        names = [(index, structure.canonical(mol)) for index, mol in enumerate(mols) if mol is not None]
        rows = self._rows([name for _, name in names], workers, progress)
        bad = [
            Failure(index, name, rows[name].reason) for index, name in names if rows[name].positions is None
        ]
        return sorted(failures + bad)

    @staticmethod
    def _parsed(items: Sequence[str | Chem.Mol]) -> tuple[list[Chem.Mol | None], list[Failure]]:
        mols: list[Chem.Mol | None] = []
        failures = []
        for index, item in enumerate(items):
            try:
                if not isinstance(item, (str, Chem.Mol)):
                    raise ValueError(f"{type(item).__name__} is no molecule: give SMILES or an RDKit Mol")
                mols.append(heavy(structure.from_smiles(item) if isinstance(item, str) else item))
            except ValueError as error:
                mols.append(None)
                named = structure.canonical(item) if isinstance(item, Chem.Mol) else str(item)
                failures.append(Failure(index, named, str(error)))
        return mols, failures

    def _rows(self, names: Sequence[str], workers: int, progress: bool) -> dict[str, Row]:
        """What is known of these canonical SMILES, after a search for those of which nothing is."""
        wanted = list(dict.fromkeys(names))
        rows = self.store.read(wanted)
        todo = [one for one in wanted if one not in rows or 0 < rows[one].seconds < self.params.seconds]
        for part in searched(todo, self.params, workers, progress):
            self.store.add(part)
            rows.update(part)
        return rows
