"""Molecules in space as text, with what each atom's codes said: CXSMILES with coordinates and atom properties.

    to_cxsmiles(mol) -> "CO |(0,0,0;1.43,0,0),atomProp:0.codes_bins.0 0 0:1.codes_bins.20 0 0|"
    as_written(text) -> the structure that the SMILES says, in the place that the coordinates say

A tokenizer that places atoms by codes notes these on the atoms (`note`); `told` reads them back. RDKit gives
stereocentres the hand that coordinates have where it reads both from a string; `as_written` keeps the hand of the SMILES,
so that the two can be compared.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from rdkit import Chem

from . import structure
from .posed import PLACES, from_cxsmiles, in_space, placed
from .stereo import Ints

PREFIX = "codes_"
WAY = re.compile(r"bins|e3fp[1-9]\d{0,8}")
TURN = np.array([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3.0
"""A rotation that no axis and no plane of usual coordinates survives."""
FAR = 1e6
"""Angstrom: coordinates that are larger are an error of the text."""


class Told(NamedTuple):
    """The codes of a molecule's atoms.

    Args:
        way: the name of what they mean: "bins", or "e3fp1024" for ids folded to 1,024.
        codes: int64 [atoms, parts], -1 for atoms that have none.
    """

    way: str
    codes: Ints


def note(mol: Chem.Mol, way: str, codes: Ints) -> None:
    """Keep the codes [m, parts] of the first m atoms on the molecule."""
    for atom, own in zip(mol.GetAtoms(), codes.tolist(), strict=False):
        atom.SetProp(PREFIX + way, " ".join(map(str, own)))


def told(mol: Chem.Mol) -> Told | None:
    """The codes that are kept on a molecule; None where there are none.

    Raises:
        ValueError: they are no numbers, of two ways, or of one that there is not.
    """
    names = [[name for name in atom.GetPropNames() if name.startswith(PREFIX)] for atom in mol.GetAtoms()]
    known = {name for some in names for name in some}
    if not known:
        return None
    if len(known) > 1:
        raise ValueError(
            f"atoms have codes of {' and '.join(sorted(known))}: a molecule is written in one way"
        )
    (name,) = known
    if not WAY.fullmatch(name.removeprefix(PREFIX)):
        raise ValueError(
            f"atoms have {name}: codes are {PREFIX}bins, or {PREFIX}e3fp and to how many they are folded"
        )
    said = [
        atom.GetProp(name).split() if some else None for atom, some in zip(mol.GetAtoms(), names, strict=True)
    ]
    bad = next((one for row in said for one in row or () if not one.isdecimal()), None)
    if bad is not None:
        raise ValueError(f"{name} holds {bad!r}: codes are whole numbers from 0 up, with spaces between them")
    rows = [None if row is None else [int(one) for one in row] for row in said]
    parts = {len(row) for row in rows if row is not None}
    if len(parts) != 1:
        raise ValueError(f"atoms have {sorted(parts)} codes: each has the same number, or none")
    empty = [-1] * parts.pop()
    return Told(name.removeprefix(PREFIX), np.array([row or empty for row in rows], np.int64))


def to_cxsmiles(mol: Chem.Mol) -> str:
    """CXSMILES with coordinates, and with the atoms' codes where they have some.

    Raises:
        ValueError: no 3D conformer.
    """
    if not in_space(mol):
        raise ValueError(f"{Chem.MolToSmiles(mol)} has no 3D conformer: embed one")
    # CXSMILES leaves out zeros, and without a z the molecule would come back flat: it is turned.
    turned = placed(mol, mol.GetConformer().GetPositions() @ TURN.T)
    for atom in turned.GetAtoms():
        for name in list(atom.GetPropNames()):
            if not name.startswith(PREFIX):
                atom.ClearProp(name)
    fields = Chem.CXSmilesFields.CX_COORDS | Chem.CXSmilesFields.CX_ATOM_PROPS
    return str(Chem.MolToCXSmiles(turned, Chem.SmilesWriteParams(), fields))


def as_written(text: str) -> Chem.Mol:
    """The structure of a SMILES or CXSMILES string with the stereo of its SMILES, in space if it has 3D coordinates.

    Raises:
        ValueError: no SMILES; coordinates for another number of atoms, or beyond `FAR`; codes that are none (`told`).
    """
    mol = structure.from_smiles(text.split()[0] if text.strip() else text)
    if not PLACES.search(text):
        return mol
    found = from_cxsmiles(text)
    if not in_space(found):
        return mol
    if found.GetNumAtoms() != mol.GetNumAtoms():
        raise ValueError(
            f"{text[:60]} has other atoms than its SMILES: give coordinates for the SMILES' atoms"
        )
    positions = found.GetConformer().GetPositions()
    if not (np.abs(positions) <= FAR).all():
        raise ValueError(f"{text[:60]} has coordinates beyond {FAR:,.0f} Angstrom, or none: mend the record")
    out = placed(mol, positions)
    for mine, other in zip(out.GetAtoms(), found.GetAtoms(), strict=True):
        for name in other.GetPropNames():
            if name.startswith(PREFIX):
                mine.SetProp(name, other.GetProp(name))
    told(out)
    return out
