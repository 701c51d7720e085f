"""Molecules in space: whether they have coordinates, and these in another order of atoms.

Items with coordinates are `rdkit.Chem.Mol` with a 3D conformer, SDF files, or CXSMILES strings with 3D
coordinates (`CO |(0,0,0;1.43,0,0)|`, ChemAxon's extended SMILES, which RDKit reads and writes).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from . import structure

PLACES = re.compile(r"\s\|(?:[^|]*,)?\(([^)]*)\)")
"""The coordinates of a CXSMILES string."""
BONDS = (0.4, 4.0)
"""Bonds that are shorter or longer are an error of the input, Angstrom."""
Floats = NDArray[np.float64]


def from_cxsmiles(text: str) -> Chem.Mol:
    """The molecule of a CXSMILES string, in space if its coordinates have three numbers each.

    Raises:
        ValueError: no SMILES, coordinates for another number of atoms, or some that are no two or three numbers
            (RDKit would fill them up in silence).
    """
    mol = structure.from_smiles(text)
    found = PLACES.search(text)
    if found is None:
        return mol
    places = [place.split(",") for place in found[1].split(";")]
    if len(places) != mol.GetNumAtoms():
        raise ValueError(
            f"{text.split()[0][:60]} has {mol.GetNumAtoms()} atoms and {len(places)} coordinates: "
            "give three numbers for each atom"
        )
    widths = {len(place) for place in places}
    bad = next((place for place in places if not all(map(_written, place))), None)
    if bad is not None or not (widths <= {2} or widths <= {3}):
        place = ",".join(bad or min(places, key=len))
        raise ValueError(
            f"{text.split()[0][:60]} has the coordinates ({place}): give three numbers for each atom"
        )
    return mol


def _written(number: str) -> bool:
    """Whether it is a number; zeros may be left out."""
    try:
        float(number or 0)
    except ValueError:
        return False
    return True


def in_space(mol: Chem.Mol) -> bool:
    """Whether the first conformer is 3D."""
    return bool(mol.GetNumConformers() and mol.GetConformer().Is3D())


def heavy(mol: Chem.Mol) -> Chem.Mol:
    """The molecule without the hydrogens that a formula leaves out; coordinates of the rest are kept.

    Raises:
        ValueError: coordinates that are not finite, or an impossible valence.
    """
    out = structure.bare(mol)
    if in_space(out):
        bad = np.flatnonzero(~np.isfinite(out.GetConformer().GetPositions()).all(axis=1))
        if len(bad):
            raise ValueError(f"the coordinates of atom {bad[0]} are not finite: mend the record")
    return out


def bonded(where: Floats, pairs: Iterable[tuple[int, int]]) -> None:
    """Refuse positions [n, 3], Angstrom, at which these pairs of atoms have no bond.

    Raises:
        ValueError: a pair nearer or farther than `BONDS` is.
    """
    for a, b in pairs:
        apart = math.dist(where[a], where[b])
        if not BONDS[0] <= apart <= BONDS[1]:
            raise ValueError(
                f"atoms {a} and {b} are bonded and {apart:.2f} Angstrom apart: "
                f"{BONDS[0]} to {BONDS[1]} can be, mend the record"
            )


def possible(mol: Chem.Mol) -> Chem.Mol:
    """The molecule, if the lengths of its bonds can be.

    Raises:
        ValueError: as `bonded`.
    """
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    bonded(mol.GetConformer().GetPositions(), ends)
    return mol


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
