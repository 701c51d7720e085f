"""How far two conformers of a molecule are apart: RMSD after the best rotation, Angstrom.

    kabsch(a [..., n, 3], b [..., n, 3]) -> [...]: points paired as they stand
    rmsd(mol, mol) -> float: heavy atoms of equal molecules, equal atoms exchanged as fits best
    nearest(mol, mol) -> that of the second one's conformers which is nearest, with its atoms so paired

Equal atoms (of a phenyl ring, a carboxylate, a tert-butyl group) can be exchanged in ways whose number is a product
over groups: six tert-butyl groups have 36 million. At most `most` are looked at, the first that a search finds; where
there are more, the value is an upper bound.

The best rotation is Kabsch 1976 (Acta Cryst. A 32, 922), by the singular values as in Umeyama 1991.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rdkit import Chem

from .posed import heavy, placed

MOST = 1000
"""Exchanges of equal atoms that are looked at."""
_AT_ONCE = 256

Floats = NDArray[np.float64]


class Nearest(NamedTuple):
    """The conformer that is nearest to a molecule's.

    Args:
        rmsd: Angstrom.
        conformer: which it is, from 0.
        positions: float64 [n, 3], Angstrom, its heavy atoms in the order of the molecule's, not turned.
    """

    rmsd: float
    conformer: int
    positions: Floats


def kabsch(a: ArrayLike, b: ArrayLike) -> Floats:
    """RMSD [...], Angstrom, of points a [..., n, 3] and b [..., n, 3] after the best rotation and shift, no mirror.

    Raises:
        ValueError: shapes that do not fit, or no points.
    """
    one, two = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if one.shape[-2:] != two.shape[-2:] or one.ndim < 2 or one.shape[-1] != 3 or not one.shape[-2]:
        raise ValueError(
            f"points are {list(one.shape)} and {list(two.shape)}: give [..., n, 3] twice, n at least 1"
        )
    one, two = one - one.mean(axis=-2, keepdims=True), two - two.mean(axis=-2, keepdims=True)
    u, stretch, v = np.linalg.svd(np.swapaxes(one, -1, -2) @ two)
    hand = np.sign(np.linalg.det(u) * np.linalg.det(v))
    overlap = stretch[..., 0] + stretch[..., 1] + hand * stretch[..., 2]
    squares = (one**2).sum(axis=(-1, -2)) + (two**2).sum(axis=(-1, -2)) - 2 * overlap
    out: Floats = np.sqrt(np.maximum(squares, 0) / one.shape[-2])
    return out


def rmsd(a: Chem.Mol, b: Chem.Mol, symmetry: bool = True, most: int = MOST) -> float:
    """RMSD, Angstrom, of the first conformers' heavy atoms; isotopes of hydrogen count where they are written out.

    Args:
        a, b: the same molecule, stereo aside.
        symmetry: pair atoms as fits best, whatever their order. False: by their numbers.
        most: ways to pair them that are looked at, 1 and up.

    Raises:
        ValueError: other molecules, no coordinates.
    """
    if symmetry:
        return nearest(
            a, placed(b, b.GetConformer().GetPositions()) if b.GetNumConformers() > 1 else b, most
        ).rmsd
    one, two = heavy(a), heavy(b)
    points = [_positions(mol) for mol in (one, two)]
    _paired(one, two)
    return float(kabsch(*points))


def nearest(a: Chem.Mol, b: Chem.Mol, most: int = MOST) -> Nearest:
    """Which conformer of `b` is nearest to the first of `a`, atoms paired as fits best; arguments as of `rmsd`.

    Raises:
        ValueError: other molecules, no coordinates.
    """
    if most < 1:
        raise ValueError(f"most={most} is out of range: 1 and up")
    one, two = heavy(a), heavy(b)
    points, _ = _positions(one), _positions(two)
    matches = np.array(_matches(one, two, most), np.int64)
    found = [_fit(points, pose.GetPositions(), matches) for pose in two.GetConformers()]
    best = min(range(len(found)), key=lambda at: found[at][0])
    return Nearest(found[best][0], best, found[best][1])


def _fit(points: Floats, pose: Floats, matches: NDArray[np.int64]) -> tuple[float, Floats]:
    """The smallest RMSD over pairings [m, n], and the pose in that order."""
    parts = [matches[at : at + _AT_ONCE] for at in range(0, len(matches), _AT_ONCE)]
    every = np.concatenate([kabsch(np.broadcast_to(points, (*part.shape, 3)), pose[part]) for part in parts])
    best = int(np.argmin(every))
    return float(every[best]), pose[matches[best]]


def _positions(mol: Chem.Mol) -> Floats:
    if not mol.GetNumConformers() or not mol.GetNumAtoms():
        raise ValueError(
            f"{Chem.MolToSmiles(mol) or 'the empty molecule'} has no coordinates: embed it first"
        )
    found: Floats = mol.GetConformer().GetPositions()
    return found


def _paired(one: Chem.Mol, two: Chem.Mol) -> None:
    """ValueError unless the atoms of equal numbers are of equal elements."""
    names = [[atom.GetSymbol() for atom in mol.GetAtoms()] for mol in (one, two)]
    if names[0] != names[1]:
        raise ValueError(f"{_names(one, two)} have other atoms in their order: pair them with symmetry=True")


def _matches(one: Chem.Mol, two: Chem.Mol, most: int) -> list[tuple[int, ...]]:
    """Ways in which the atoms of `one` are atoms of `two`: for each atom its number there."""
    found: list[tuple[int, ...]] = []
    if Chem.MolToSmiles(one, isomericSmiles=False) == Chem.MolToSmiles(two, isomericSmiles=False):
        found = list(_levelled(two).GetSubstructMatches(_levelled(one), uniquify=False, maxMatches=most))
    if not found:
        raise ValueError(f"{_names(one, two)} are two molecules: RMSD compares conformers of one")
    return found


def _levelled(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with equal bonds to the bare ends of a group, as resonance makes them: -COO(-), -NO2, -SO3(-)."""
    out = Chem.RWMol(mol)
    for atom in out.GetAtoms():
        ends = [one for one in atom.GetNeighbors() if one.GetDegree() == 1 and one.GetTotalNumHs() == 0]
        for end in ends:
            if end.GetSymbol() in ("O", "S") and sum(one.GetSymbol() == end.GetSymbol() for one in ends) > 1:
                end.SetFormalCharge(0)
                out.GetBondBetweenAtoms(atom.GetIdx(), end.GetIdx()).SetBondType(Chem.BondType.SINGLE)
    return out


def _names(one: Chem.Mol, two: Chem.Mol) -> str:
    return f"{Chem.MolToSmiles(one)} and {Chem.MolToSmiles(two)}"
