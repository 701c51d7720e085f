"""A molecule of which the first atoms have positions: distance geometry places the others.

RDKit keeps to given positions within one fragment only, and makes each around the same origin. So fragments are made
one by one, each is turned to where its atoms are told to be, and those of which nothing is told are set beside. One
or two told atoms leave turns open: of some, that one is taken which keeps farthest from what stands there. What is
told of the first atoms holds even where no molecule can be so; the others are then as without it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom
from rdkit.Geometry import Point3D
from rdkit.Numerics import rdAlignment

from .fragments import DIRECTIONS, beside
from .posed import Floats, heavy, placed

ATTEMPTS = 5
SEED = 1
ANGLES = 2 * np.pi * np.arange(12) / 12


def completed(mol: Chem.Mol, told: Floats) -> Chem.Mol | None:
    """The molecule in space with its first m atoms at `told` [m, 3], Angstrom; None where the others find no place."""
    with rdBase.BlockLogs():
        whole = Chem.AddHs(mol)
        places: list[tuple[int, ...]] = []
        parts = Chem.GetMolFrags(whole, asMols=True, fragsMolAtomMapping=places)
        out = np.zeros((whole.GetNumAtoms(), 3))
        done: list[int] = []
        for part, atoms in zip(parts, places, strict=True):
            known = [k for k, atom in enumerate(atoms) if atom < len(told)]
            found = _made(part, known, told[[atoms[k] for k in known]])
            if found is None:
                return None
            turns = _turns(found, known) if done and known else iter([found])
            out[list(atoms)] = max(turns, key=lambda one: _apart(one, out[done]))
            done += [*atoms] if known else []
    out[: len(told)] = told
    return heavy(placed(whole, beside(whole, out, kept=range(len(told)))))


def _made(part: Chem.Mol, known: list[int], told: Floats) -> Floats | None:
    """Positions [n, 3] of a fragment, turned to where the atoms `known` are told to be [m, 3]."""
    where = {atom: Point3D(*map(float, at)) for atom, at in zip(known, told, strict=True)}
    for given in (where, {}):
        if rdDistGeom.EmbedMolecule(part, coordMap=given, randomSeed=SEED, maxAttempts=ATTEMPTS) >= 0:
            break
    else:
        return None
    made: Floats = part.GetConformer().GetPositions()
    if known:
        _, move = rdAlignment.GetAlignmentTransform(told, made[known])
        made = made @ move[:3, :3].T + move[:3, 3]
    return made


def _turns(made: Floats, known: list[int]) -> Iterator[Floats]:
    """The fragment, and with one or two known atoms also turned about them."""
    yield made
    if len(known) > 2 or len(made) == len(known):
        return
    centre = made[known[0]]
    between = made[known[-1]] - centre
    size = np.linalg.norm(between)
    for axis in [between / size] if size > 0 else DIRECTIONS[: len(DIRECTIONS) // 2]:
        for angle in ANGLES[1:]:
            yield centre + _turned(made - centre, axis, angle)


def _turned(points: Floats, axis: Floats, angle: float) -> Floats:
    """Points turned about a unit vector (Rodrigues' formula)."""
    along = np.outer(points @ axis, axis)
    return along + np.cos(angle) * (points - along) + np.sin(angle) * np.cross(axis, points)


def _apart(points: Floats, others: Floats) -> float:
    """The smallest distance, Angstrom, rounded so that equal ones do not depend on the last bit."""
    if not len(others):
        return 0.0
    return round(float(np.linalg.norm(points[:, None] - others[None], axis=-1).min()), 6)
