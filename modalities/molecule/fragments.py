"""Fragments of a molecule set beside one another: RDKit embeds each around the same origin, one on another.

Each further fragment is moved, not turned, until it touches the earlier ones, along that one of 26 directions in
which opposite charges come closest, or, without charges, in which all lies closest together.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

Floats = NDArray[np.float64]

CONTACT = 2.5
"""No two atoms of two fragments, hydrogens included, are nearer, Angstrom."""
_STEPS = np.array([d for d in itertools.product((0, 1, -1), repeat=3) if any(d)], np.float64)
DIRECTIONS = _STEPS / np.linalg.norm(_STEPS, axis=1, keepdims=True)


def beside(mol: Chem.Mol, positions: Floats, kept: Collection[int] = ()) -> Floats:
    """Positions [n, 3], Angstrom, with fragments apart; those of a single fragment as they are.

    Args:
        kept: atoms whose fragments stay where they are, for the others to be set beside them.
    """
    parts = [list(part) for part in Chem.GetMolFrags(mol)]
    stay = [part for part in parts if not set(part).isdisjoint(kept)] or parts[:1]
    out = positions.copy()
    charges = np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], np.float64)
    done = [atom for part in stay for atom in part]
    for part in parts:
        if part in stay:
            continue
        there, here = out[done], out[part] - out[part].mean(axis=0) + out[done].mean(axis=0)
        moves = [here + _reach(there, here, way) * way for way in DIRECTIONS]
        costs = [_cost(there, charges[done], move, charges[part]) for move in moves]
        out[part] = moves[int(np.argmin(np.round(costs, 6)))]
        done = done + part
    return out


def _reach(there: Floats, here: Floats, way: Floats) -> float:
    """How far `here` must go along a unit vector to pass all of `there` by CONTACT."""
    between = there[:, None] - here[None]
    along = between @ way
    room = CONTACT**2 - ((between**2).sum(axis=-1) - along**2)
    stops = (along + np.sqrt(np.maximum(room, 0)))[room > 0]
    return max(float(stops.max(initial=0.0)), 0.0)


def _cost(there: Floats, plus: Floats, here: Floats, minus: Floats) -> float:
    """Coulomb energy of formal charges; the mean distance breaks ties and decides without charges."""
    apart = np.linalg.norm(there[:, None] - here[None], axis=-1)
    return float((plus[:, None] * minus[None] / apart).sum() + 1e-3 * apart.mean())
