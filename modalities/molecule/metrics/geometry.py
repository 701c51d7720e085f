"""Whether coordinates agree with the structure that they were written for: one molecule in space at a time.

    lengths(mol) -> (bonds of the right length, bonds)      clashes(mol) -> pairs of atoms that are too near
    hands(mol) -> (stereocentres of the written hand, stereocentres)      cis_trans(mol) -> the same of double bonds

The stereo that is compared is the one that the molecule bears: read it with `told.as_written`, since RDKit gives
a molecule the stereo of its coordinates where it reads both from one string or file.

The reference length of a bond is the middle of the two distances that RDKit's distance geometry allows it (sums of
UFF radii for the atoms' types and the bond's order, Rappe et al., J. Am. Chem. Soc. 114, 10024, 1992).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler, rdDistGeom

TOLERANCE = 0.1
"""A bond is right if it is off its reference length by at most so much of it: .997 of the bonds of ETKDG conformers of
ZINC (drug-like) molecules are, .984 of those of deepchem's gdb1k in the coordinates that come with them."""
CLASH = 0.7
"""Atoms clash below so much of the sum of their van der Waals radii."""
APART = 3
"""Bonds that lie between atoms that are looked at for clashes, at least."""
FLAT = 0.1
"""Cubic Angstrom that the bonds of a stereocentre span at least, as RDKit wants it."""
CIP_STEPS = 100_000
_NONE = Chem.ChiralType.CHI_UNSPECIFIED
_TETRAHEDRAL = (Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
"""By the sign of the volume of an atom's first three bonds; what is left, a bond, a hydrogen or a pair, is the last."""
_CIS_TRANS = {
    Chem.BondStereo.STEREOZ: True,
    Chem.BondStereo.STEREOCIS: True,
    Chem.BondStereo.STEREOE: False,
    Chem.BondStereo.STEREOTRANS: False,
}

Floats = NDArray[np.float64]
Share = tuple[int, int]
"""How many are right, and how many there are."""


def reference_lengths(mol: Chem.Mol) -> Floats | None:
    """The reference length of each bond, Angstrom [bonds]; None where distance geometry knows the molecule not."""
    try:
        with rdBase.BlockLogs():
            bounds = rdDistGeom.GetMoleculeBoundsMatrix(Chem.AddHs(mol))
    except (RuntimeError, ValueError):
        return None
    pairs = np.array(
        [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()], np.int64
    ).reshape(-1, 2)
    out: Floats = (bounds[pairs[:, 0], pairs[:, 1]] + bounds[pairs[:, 1], pairs[:, 0]]) / 2
    return out


def lengths(mol: Chem.Mol, reference: Floats | None) -> Share:
    """Bonds within `TOLERANCE` of their reference length, ring closures among them; (0, 0) without a reference."""
    if reference is None:
        return 0, 0
    where = mol.GetConformer().GetPositions()
    found = np.array(
        [np.linalg.norm(where[b.GetBeginAtomIdx()] - where[b.GetEndAtomIdx()]) for b in mol.GetBonds()]
    )
    return int((np.abs(found - reference) <= TOLERANCE * reference).sum()), len(found)


def clashes(mol: Chem.Mol) -> int:
    """Pairs of atoms nearer than `CLASH` of the sum of their van der Waals radii (RDKit's table).

    Looked at are atoms at least `APART` bonds apart, those of two fragments too; fragments of a single atom are left
    out, since van der Waals radii are not those of ions.
    """
    where, table = mol.GetConformer().GetPositions(), Chem.GetPeriodicTable()
    radius = np.array([table.GetRvdw(atom.GetAtomicNum()) for atom in mol.GetAtoms()])
    apart = Chem.GetDistanceMatrix(mol) >= APART
    alone = np.array([atom.GetDegree() == 0 for atom in mol.GetAtoms()])
    looked = np.triu(apart & ~alone[:, None] & ~alone[None], 1)
    between = np.linalg.norm(where[:, None] - where[None], axis=-1)
    return int((looked & (between < CLASH * (radius[:, None] + radius[None]))).sum())


def hands(mol: Chem.Mol) -> Share:
    """Stereocentres that the structure names whose coordinates have the same hand; a flat centre has none.

    Compared are CIP labels (R, S, r, s), for tags alone differ between equal molecules: turning over both
    centres of 4-methylcyclohexanol changes nothing.
    """
    where = mol.GetConformer().GetPositions()
    seen = Chem.Mol(mol)
    centres = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetChiralTag() in _TETRAHEDRAL]
    for centre in centres:
        around = [one.GetIdx() for one in mol.GetAtomWithIdx(centre).GetNeighbors()][:3]
        volume = float(np.linalg.det(where[around] - where[centre])) if len(around) == 3 else 0.0
        seen.GetAtomWithIdx(centre).SetChiralTag(_TETRAHEDRAL[volume > 0] if abs(volume) > FLAT else _NONE)
    written, found = _labels(mol), _labels(seen)
    pairs = [(written[centre], found[centre]) for centre in centres]
    return sum(a == b for a, b in pairs), len(pairs)


def _labels(mol: Chem.Mol) -> list[str]:
    """CIP labels of the atoms, tags where there are none."""
    out = Chem.Mol(mol)
    for atom in out.GetAtoms():
        atom.ClearProp("_CIPCode")
    try:
        with rdBase.BlockLogs():
            rdCIPLabeler.AssignCIPLabels(out, maxRecursiveIterations=CIP_STEPS)
    except RuntimeError:  # too symmetric to be told apart in so many steps
        pass
    return [
        atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else str(atom.GetChiralTag())
        for atom in out.GetAtoms()
    ]


def cis_trans(mol: Chem.Mol) -> Share:
    """Double bonds that the structure calls cis or trans whose coordinates are so: dihedral below or above 90 degrees."""
    where = mol.GetConformer().GetPositions()
    right = total = 0
    for bond in mol.GetBonds():
        if bond.GetStereo() in _CIS_TRANS:
            first, last = bond.GetStereoAtoms()
            a, b = where[bond.GetBeginAtomIdx()], where[bond.GetEndAtomIdx()]
            one, two = np.cross(where[first] - a, b - a), np.cross(where[last] - b, b - a)
            total += 1
            right += bool((one @ two > 0) == _CIS_TRANS[bond.GetStereo()])
    return right, total
