"""Molecules in space: whether they have coordinates, and these in another order of atoms.

Items with coordinates are `rdkit.Chem.Mol` with a 3D conformer, SDF files, or CXSMILES strings with 3D
coordinates (`CO |(0,0,0;1.43,0,0)|`, ChemAxon's extended SMILES, which RDKit reads and writes).
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from . import structure

PLACES = re.compile(r"\|[^|]*?\(([^)]*)\)")
Floats = NDArray[np.float64]


def from_cxsmiles(text: str) -> Chem.Mol:
    """The molecule of a CXSMILES string, in space if its coordinates have three numbers each.

    Raises:
        ValueError: no SMILES, or coordinates for another number of atoms (RDKit would fill them up in silence).
    """
    mol = structure.from_smiles(text)
    places = PLACES.search(text)
    if places is not None and places[1].count(";") + 1 != mol.GetNumAtoms():
        raise ValueError(
            f"{text.split()[0][:60]} has {mol.GetNumAtoms()} atoms and {places[1].count(';') + 1} coordinates: "
            "give three numbers for each atom"
        )
    return mol


def in_space(mol: Chem.Mol) -> bool:
    """Whether the first conformer is 3D."""
    return bool(mol.GetNumConformers() and mol.GetConformer().Is3D())


def heavy(mol: Chem.Mol) -> Chem.Mol:
    """The molecule without the hydrogens that a formula leaves out; coordinates of the rest are kept.

    Raises:
        ValueError: coordinates that are not finite.
    """
    out = Chem.RemoveHs(mol)
    if in_space(out):
        bad = np.flatnonzero(~np.isfinite(out.GetConformer().GetPositions()).all(axis=1))
        if len(bad):
            raise ValueError(f"the coordinates of atom {bad[0]} are not finite: mend the record")
    return out


def canonical_order(mol: Chem.Mol) -> list[int]:
    """The atoms as the canonical SMILES names them."""
    mol = Chem.Mol(mol)
    Chem.MolToSmiles(mol)
    return list(mol.GetPropsAsDict(True, True).get("_smilesAtomOutputOrder", ()))


def carry(source: Chem.Mol, target: Chem.Mol) -> Chem.Mol:
    """The target with the coordinates of the source, the same molecule with its atoms in another order.

    Raises:
        ValueError: other molecules.
    """
    ours, theirs = Chem.MolToSmiles(target), Chem.MolToSmiles(source)
    if ours != theirs:
        raise ValueError(f"{theirs} is not {ours}: coordinates can be carried between equal molecules only")
    positions = np.zeros((target.GetNumAtoms(), 3))
    positions[canonical_order(target)] = source.GetConformer().GetPositions()[canonical_order(source)]
    return placed(target, positions)


def placed(mol: Chem.Mol, positions: Floats) -> Chem.Mol:
    """The molecule with one conformer: positions [atoms, 3], Angstrom."""
    out = Chem.Mol(mol)
    out.RemoveAllConformers()
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(True)
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    out.AddConformer(conformer)
    return out
