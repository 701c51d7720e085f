"""Which earlier atoms an atom's position is told against: it follows from the graph and the order alone.

Each atom is bonded to an earlier one unless it opens a fragment, as in SELFIES (where a later ring may still join
two fragments that were opened apart). Then
- the parent is its latest earlier neighbour;
- the grandparent is the parent's parent, or where that has none its first neighbour;
- the third is the latest other neighbour of the parent, so that a dihedral about parent and grandparent tells the
  hand of a stereocentre, or a plane; without one the grandparent's parent or first other neighbour: a torsion.
What is missing is filled with the latest atom that is no reference yet; so is the parent of a fragment's first
atom. So only the first three atoms of a molecule have fewer than three references.
"""

from __future__ import annotations

from typing import NamedTuple

from rdkit import Chem


class Place(NamedTuple):
    """What an atom is placed against: indices of earlier atoms, -1 for none, and whether it opens a fragment."""

    parent: int
    grand: int
    third: int
    opens: bool


def references(mol: Chem.Mol) -> list[Place]:
    """What each atom is placed against; one that is bonded to no earlier atom opens a fragment."""
    around = [sorted(one.GetIdx() for one in atom.GetNeighbors()) for atom in mol.GetAtoms()]
    parents: list[int] = []
    out = []
    for atom, near in enumerate(around):
        parent = max((one for one in near if one < atom), default=-1)
        parents.append(parent)
        opens = parent < 0
        if opens:
            parent = atom - 1
        grand = -1 if opens else _grand(parent, atom, parents[parent], around[parent])
        third = -1 if grand < 0 else _third(parent, grand, atom, parents, around)
        parent, grand, third = _filled([parent, grand, third], atom)
        out.append(Place(parent, grand, third, opens))
    return out


def in_order(mol: Chem.Mol, places: list[Place]) -> None:
    """Refuse atoms in another order than that of SELFIES, where a bond would be told as a gap between fragments.

    Raises:
        ValueError: an atom opens a fragment that began before.
    """
    first = {min(one) for one in Chem.GetMolFrags(mol)}
    bad = next((atom for atom, place in enumerate(places) if place.opens and atom not in first), None)
    if bad is not None:
        raise ValueError(
            f"atom {bad} is bonded to no earlier atom: bring the atoms into the order of SELFIES"
        )


def _grand(parent: int, atom: int, grand: int, near: list[int]) -> int:
    """The parent's parent, or its first neighbour that is placed."""
    return grand if grand >= 0 else next((one for one in near if one < atom), -1)


def _third(parent: int, grand: int, atom: int, parents: list[int], around: list[list[int]]) -> int:
    """The latest other neighbour of the parent, or the next along the chain."""
    beside = [one for one in around[parent] if one < atom and one != grand]
    if beside:
        return beside[-1]
    beyond = parents[grand]
    if beyond >= 0 and beyond != parent:
        return beyond
    return next((one for one in around[grand] if one < atom and one != parent), -1)


def _filled(found: list[int], atom: int) -> list[int]:
    """References, the missing ones replaced by the latest atoms that are none yet."""
    spare = (one for one in range(atom - 1, -1, -1) if one not in found)
    return [one if one >= 0 else next(spare, -1) for one in found]
