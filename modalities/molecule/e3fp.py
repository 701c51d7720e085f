"""The E3FP fingerprint of a molecule's 3D structure, and the ids of its atoms.

    fingerprint(mol) -> int64 [n], sorted    what is in the molecule
    atom_ids(mol) -> int64 [atoms, level + 1]    what lies around each atom, level by level

Axen, Huang, Cáceres, Gendelev, Roth and Keiser, J. Med. Chem. 2017 (doi 10.1021/acs.jmedchem.7b00696). Ids equal those of the e3fp
package 1.2.7 with the same arguments, bit for bit. Two differences where that package fails: special bonds
(dative ones, say) have a connection of their own, and a molecule without atoms to look at has an empty
fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from rdkit import Chem

from .shells import Settings, Shells, check, shells
from .stereo import Ints

CHUNK = 128
"""Molecules that a process is given at a time."""
WHOLE = Chem.PropertyPickleOptions.AllProps | Chem.PropertyPickleOptions.CoordsAsDouble
"""What goes to a process with a molecule: its title, and coordinates that are not rounded to float32."""


def fingerprint(
    mol: Chem.Mol | Sequence[Chem.Mol],
    level: int | None = 5,
    bits: int | None = 1024,
    radius_multiplier: float = 1.718,
    stereo: bool = True,
    rdkit_invariants: bool = False,
    exclude_floating: bool = True,
    include_disconnected: bool = True,
    workers: int = 1,
) -> Any:
    """The sorted set of ids of a molecule's accepted shells, from its first conformer: int64 [n].

    For several molecules a list of them.

    Args:
        mol: one molecule with coordinates, or several.
        level: the last level; None: as many as bring new shells.
        bits: ids are folded to 0 .. bits - 1; None: 0 .. 2**32 - 1.
        radius_multiplier, stereo, rdkit_invariants, exclude_floating, include_disconnected: see `Settings`.
        workers: processes to use for several molecules.

    Raises:
        ValueError: no molecule, no coordinates, some that are not finite (the molecule is named), or an option out
            of range. There is no row for a molecule that fails.
    """
    settings = Settings(
        level, radius_multiplier, stereo, rdkit_invariants, exclude_floating, include_disconnected
    )
    return _each(mol, partial(_fingerprint, bits=_checked(bits)), settings, workers)


def atom_ids(
    mol: Chem.Mol | Sequence[Chem.Mol],
    level: int = 5,
    bits: int | None = 1024,
    radius_multiplier: float = 1.718,
    stereo: bool = True,
    rdkit_invariants: bool = False,
    exclude_floating: bool = True,
    include_disconnected: bool = True,
    replace_duplicates: bool = False,
    workers: int = 1,
) -> Any:
    """The id of each atom's shell at each level, in RDKit's order of atoms: int64 [atoms, level + 1].

    Duplicates keep theirs; -1 where a level was not reached, and for hydrogens and atoms that are left out.

    Args:
        mol: one molecule with coordinates, or several.
        level: the last level.
        bits, radius_multiplier, stereo, rdkit_invariants, exclude_floating, include_disconnected, workers: see
            `fingerprint`.
        replace_duplicates: 3D-MolT5's rule. A duplicate whose id is not in the fingerprint takes that of the
            first shell over the same atoms (by level, then by atom) whose id is.

    Raises:
        ValueError: as `fingerprint`.
    """
    if level < 0:
        raise ValueError(
            f"level={level} is out of range: the ids of an atom have a fixed number of levels, 0 and up"
        )
    settings = Settings(
        level, radius_multiplier, stereo, rdkit_invariants, exclude_floating, include_disconnected
    )
    finish = partial(_atom_ids, level=level, bits=_checked(bits), replace=replace_duplicates)
    return _each(mol, finish, settings, workers)


def _checked(bits: int | None) -> int | None:
    if bits is not None and (bits != int(bits) or not 1 <= bits <= 2**32):
        raise ValueError(f"bits={bits} is out of range: 1 to 2**32, or None for ids that are not folded")
    return bits


def _each(
    mol: Chem.Mol | Sequence[Chem.Mol], finish: Callable[[Shells], Ints], settings: Settings, workers: int
) -> Any:
    if workers < 1:
        raise ValueError(f"workers={workers} is out of range: 1 and up")
    if isinstance(mol, Chem.Mol):
        return _run([mol], finish, settings)[0]
    mols = list(mol)
    if workers == 1 or len(mols) <= CHUNK:
        return _run(mols, finish, settings)
    check(mols)
    packed = [[one.ToBinary(WHOLE) for one in mols[at : at + CHUNK]] for at in range(0, len(mols), CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        work = partial(_unpacked, finish=finish, settings=settings)
        return [one for part in pool.map(work, packed) for one in part]


def _unpacked(mols: list[bytes], finish: Callable[[Shells], Ints], settings: Settings) -> list[Ints]:
    return _run([Chem.Mol(one) for one in mols], finish, settings)


def _run(mols: list[Chem.Mol], finish: Callable[[Shells], Ints], settings: Settings) -> list[Ints]:
    return [finish(one) for one in shells(mols, settings)]


def _folded(ids: Ints, bits: int | None) -> Ints:
    unsigned = ids & 0xFFFFFFFF
    return unsigned if bits is None else unsigned % bits


def _fingerprint(found: Shells, bits: int | None) -> Ints:
    return np.unique(_folded(found.ids[found.accepted], bits))


def _atom_ids(found: Shells, level: int, bits: int | None, replace: bool) -> Ints:
    folded = _folded(found.ids, bits)
    if replace:
        folded = _replaced(found, folded)
    out = np.full((found.total, level + 1), -1, np.int64)
    out[found.atoms, : len(folded)] = folded.T
    return out


def _replaced(found: Shells, folded: Ints) -> Ints:
    """Ids of duplicates replaced; see `atom_ids`."""
    kept = set(folded[found.accepted].tolist())
    flat, covered = folded.reshape(-1), found.covered.reshape(folded.size, -1)
    leader: dict[bytes, int] = {}
    for at, bit in enumerate(flat.tolist()):
        if bit in kept:
            leader.setdefault(covered[at].tobytes(), bit)
    out = [
        bit if bit in kept else leader.get(covered[at].tobytes(), bit) for at, bit in enumerate(flat.tolist())
    ]
    return np.array(out, np.int64).reshape(folded.shape)
