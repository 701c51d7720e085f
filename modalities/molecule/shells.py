"""The shells of E3FP: around each atom, level by level, an identifier of all that lies within a radius.

Axen, Huang, Cáceres, Gendelev, Roth and Keiser, J. Med. Chem. 2017. Level 0 hashes the atom's invariants; at level L the shell of an
atom holds all others within L times the radius and hashes, for each, the connection, its identifier of the
level before and its place (`stereo`). A shell over atoms that an earlier shell covers is a duplicate: its
identifier goes on into the next level, but not into the fingerprint. All molecules of a batch are worked on
at once, as flat arrays of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from .murmur import hash_sequences
from .stereo import Floats, Ints, indicators

CONNECTIONS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
    Chem.BondType.AROMATIC: 4,
}
APART = 5
OTHER = 6
"""Dative and other special bonds, which the e3fp package refuses with a KeyError."""
BLOCK = 100_000
"""Distances computed at once."""
SUPPLY = 200_000
"""Pairs of atoms, about, whose shells are worked on at once: the arrays stay in the cache."""
WEIGHTS = Chem.GetPeriodicTable()


@dataclass(frozen=True)
class Settings:
    """What a fingerprint depends on; names and defaults are those of the e3fp package.

    Args:
        level: the last level; None or -1: until no new shell comes.
        radius_multiplier: Angstrom that the radius grows by at each level.
        stereo: whether places count.
        rdkit_invariants: those of RDKit's Morgan fingerprint in place of Daylight's.
        exclude_floating: whether atoms without bonds are left out of molecules of several atoms.
        include_disconnected: whether atoms that are not bonded to the centre count.
    """

    level: int | None = 5
    radius_multiplier: float = 1.718
    stereo: bool = True
    rdkit_invariants: bool = False
    exclude_floating: bool = True
    include_disconnected: bool = True

    def __post_init__(self) -> None:
        if self.level is not None and self.level < -1:
            raise ValueError(
                f"level={self.level} is out of range: 0 and up, or None for as many as there are"
            )
        if not (np.isfinite(self.radius_multiplier) and self.radius_multiplier > 0):
            raise ValueError(
                f"radius_multiplier={self.radius_multiplier} is out of range: a length above 0, in Angstrom"
            )


@dataclass
class Shells:
    """The shells of one molecule. m atoms are fingerprinted, levels 0 to n were reached.

    Args:
        atoms: int64 [m], their RDKit indices.
        ids: int64 [n + 1, m], signed 32-bit identifiers.
        accepted: bool [n + 1, m], False for duplicates.
        covered: uint64 [n + 1, m, words], the atoms of each shell as bits of positions in `atoms`.
        total: all atoms of the molecule.
    """

    atoms: Ints
    ids: Ints
    accepted: NDArray[np.bool_]
    covered: NDArray[np.uint64]
    total: int


@dataclass
class _Pairs:
    """Directed pairs of atoms (i, j), sorted by i then j, of all molecules of a batch."""

    i: Ints
    j: Ints
    distance: Floats
    kind: Ints
    v: Floats = field(repr=False)

    def where(self, mask: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.i[mask], self.j[mask], self.distance[mask], self.kind[mask], self.v[mask])


def name(mol: Chem.Mol) -> str:
    """How errors call a molecule: its title, or its SMILES."""
    if mol.HasProp("_Name") and mol.GetProp("_Name").strip():
        return str(mol.GetProp("_Name").strip())
    return str(Chem.MolToSmiles(mol))[:80] or "an empty molecule"


def check(mols: Sequence[Chem.Mol]) -> None:
    """Refuse what has no invariants.

    Raises:
        ValueError: no molecule, or one that was not sanitised; its place, from 0, or its name is said.
    """
    for place, mol in enumerate(mols):
        if not isinstance(mol, Chem.Mol):
            raise ValueError(f"item {place} is {type(mol).__name__}: give RDKit molecules with coordinates")
        if mol.NeedsUpdatePropertyCache():
            raise ValueError(f"{name(mol)} was read without its valences: pass it through Chem.SanitizeMol")


def shells(mols: Sequence[Chem.Mol], settings: Settings) -> list[Shells]:
    """The shells of each molecule, from its first conformer.

    Raises:
        ValueError: as `check`; a molecule without coordinates, or with some that are not finite; it is named.
    """
    check(mols)
    out: list[Shells] = []
    for part in _parts(mols):
        out += _batch(part, settings)
    return out


def _parts(mols: Sequence[Chem.Mol]) -> Iterator[list[Chem.Mol]]:
    part: list[Chem.Mol] = []
    pairs = 0
    for mol in mols:
        part.append(mol)
        atoms = mol.GetNumAtoms()
        pairs += atoms * min(atoms, 100)
        if pairs > SUPPLY:
            yield part
            part, pairs = [], 0
    if part:
        yield part


def _chosen(mol: Chem.Mol, settings: Settings) -> list[Chem.Atom]:
    heavy = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    if settings.exclude_floating and len(heavy) > 1:
        return [atom for atom in heavy if atom.GetDegree() > 0]
    return heavy


def _positions(mol: Chem.Mol) -> Floats:
    if not mol.GetNumAtoms():
        return np.zeros((0, 3))
    if not mol.GetNumConformers():
        raise ValueError(f"{name(mol)} has no coordinates: embed a conformer or read it from an SDF file")
    found: Floats = mol.GetConformer().GetPositions()
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise ValueError(f"{name(mol)} has coordinates of atom {bad[0]} that are not finite: mend the record")
    return found


def _daylight(atom: Chem.Atom) -> list[int]:
    hydrogens = atom.GetTotalNumHs()
    return [
        atom.GetTotalDegree() - hydrogens,
        atom.GetTotalValence() - hydrogens,
        atom.GetAtomicNum(),
        int(atom.GetMass()),
        atom.GetFormalCharge(),
        hydrogens,
        int(atom.IsInRing()),
    ]


def _morgan(atom: Chem.Atom) -> list[int]:
    number = atom.GetAtomicNum()
    return [
        number,
        atom.GetTotalDegree(),
        atom.GetTotalNumHs(),
        atom.GetFormalCharge(),
        int(atom.GetMass() - WEIGHTS.GetAtomicWeight(number)),
        int(atom.IsInRing()),
    ]


def _batch(mols: list[Chem.Mol], settings: Settings) -> list[Shells]:
    """Shells of a few molecules."""
    invariants = _morgan if settings.rdkit_invariants else _daylight
    chosen = [_chosen(mol, settings) for mol in mols]
    index = [np.array([atom.GetIdx() for atom in atoms], np.int64) for atoms in chosen]
    sizes = np.array([len(atoms) for atoms in chosen], np.int64)
    begin = np.cumsum(sizes) - sizes
    total = int(sizes.sum())
    owner = np.repeat(np.arange(len(mols)), sizes)
    rows = [invariants(atom) for atoms in chosen for atom in atoms]
    flat = np.array(rows, np.int64).reshape(-1)
    ids = hash_sequences(flat, np.arange(total, dtype=np.int64) * (6 if settings.rdkit_invariants else 7))
    where = [_positions(mol)[at] for mol, at in zip(mols, index, strict=True)]
    bonds = _bonds(mols, index, begin)
    limit = settings.level if settings.level not in (None, -1) else max(int(sizes.max(initial=0)), 1)
    assert limit is not None
    # Without a last level no shell needs to be wider than the molecule.
    pairs = _pairs(where, begin, bonds, settings, limit * settings.radius_multiplier)

    words = max(1, -(-int(sizes.max(initial=0)) // 64))
    local = np.arange(total) - begin[owner]
    own = np.zeros((total, words), np.uint64)
    own[np.arange(total), local // 64] = np.uint64(1) << (local % 64).astype(np.uint64)
    full = _full(sizes, words)

    covered = own
    seen: list[set[bytes]] = [set() for _ in mols]
    for at, key in zip(owner.tolist(), _keys(own), strict=True):
        seen[at].add(key)
    levels = [(ids, np.ones(total, bool), own)]
    reached = np.zeros(len(mols), np.int64)
    active = sizes > 0
    for level in range(1, limit + 1):
        open_ = ~(covered == full[owner]).all(axis=1)
        active &= np.bincount(owner[open_], minlength=len(mols)) > 0
        if not active.any():
            break
        pairs = pairs.where(active[owner[pairs.i]])
        now = pairs.where(pairs.distance <= level * settings.radius_multiplier)
        ids, covered = _level(level, ids, covered, own, now, settings.stereo)
        accepted = np.zeros(total, bool)
        order = np.lexsort((np.arange(total), ids, owner))
        order = order[active[owner[order]]]
        keys = _keys(covered[order])
        for atom, at, key in zip(order.tolist(), owner[order].tolist(), keys, strict=True):
            if key not in seen[at]:
                seen[at].add(key)
                accepted[atom] = True
        active &= np.bincount(owner[accepted], minlength=len(mols)) > 0  # else the level does not count
        reached[active] = level
        levels.append((ids, accepted, covered))

    all_ids, all_accepted, all_covered = (np.stack([level[k] for level in levels]) for k in range(3))
    out = []
    for number, (mol, atoms) in enumerate(zip(mols, index, strict=True)):
        part = np.s_[: reached[number] + 1, begin[number] : begin[number] + sizes[number]]
        out.append(Shells(atoms, all_ids[part], all_accepted[part], all_covered[part], mol.GetNumAtoms()))
    return out


def _keys(covered: NDArray[np.uint64]) -> list[bytes]:
    """The atoms of each shell as something to put in a set."""
    width = 8 * covered.shape[1]
    found: list[bytes] = np.ascontiguousarray(covered).view(f"V{width}").reshape(-1).tolist()
    return found


def _full(sizes: Ints, words: int) -> NDArray[np.uint64]:
    """All atoms of each molecule as bits [molecules, words]."""
    bits = np.clip(sizes[:, None] - 64 * np.arange(words)[None], 0, 64)
    ones = ~np.uint64(0)
    shift = (64 - np.maximum(bits, 1)).astype(np.uint64)
    return np.where(bits > 0, ones >> shift, np.uint64(0))


def _level(
    level: int, ids: Ints, covered: NDArray[np.uint64], own: NDArray[np.uint64], now: _Pairs, stereo: bool
) -> tuple[Ints, NDArray[np.uint64]]:
    """Identifiers and atoms of the next level's shells."""
    atoms = np.arange(len(ids))
    order = np.lexsort((ids[now.j], now.kind, now.i))
    i, j, kind = now.i[order], now.j[order], now.kind[order]
    near = ids[j]
    starts = np.flatnonzero(np.diff(i, prepend=-1)) if len(i) else np.zeros(0, np.int64)
    columns = [kind, near]
    if stereo and len(i):
        centre = np.cumsum(np.diff(i, prepend=i[0]) != 0)
        place = indicators(centre, starts, kind, near, now.v[order])
        alike = np.cumsum(
            (np.diff(centre, prepend=0) != 0)
            | (np.diff(kind, prepend=0) != 0)
            | (np.diff(near, prepend=near[0]) != 0)
        )
        place = place[np.argsort(alike * 16 + place, kind="stable")]
        columns.append(place)
    elif stereo:
        columns.append(kind)
    width = len(columns)
    counts = np.bincount(i, minlength=len(ids))
    begin = 2 * atoms + width * (np.cumsum(counts) - counts)  # of each atom's sequence
    values = np.empty(2 * len(ids) + width * len(i), np.int64)
    values[begin], values[begin + 1] = level, ids
    slot = 2 * (i + 1) + width * np.arange(len(i))
    for number, column in enumerate(columns):
        values[slot + number] = column
    wider = own.copy()
    if len(i):
        wider[i[starts]] |= np.bitwise_or.reduceat(covered[j], starts, axis=0)
    return hash_sequences(values, begin), wider


def _bonds(mols: list[Chem.Mol], index: list[Ints], begin: Ints) -> Ints:
    """[b, 3]: positions of both atoms in the batch, and the connection; each bond in both directions."""
    out = []
    for mol, atoms, start in zip(mols, index, begin.tolist(), strict=True):
        place = {atom: start + k for k, atom in enumerate(atoms.tolist())}
        for bond in mol.GetBonds():
            a, b = place.get(bond.GetBeginAtomIdx()), place.get(bond.GetEndAtomIdx())
            if a is not None and b is not None:
                kind = CONNECTIONS.get(bond.GetBondType(), OTHER)
                out += [(a, b, kind), (b, a, kind)]
    return np.array(sorted(out), np.int64).reshape(-1, 3)


def _pairs(where: list[Floats], begin: Ints, bonds: Ints, settings: Settings, reach: float) -> _Pairs:
    """All pairs within reach; memory grows with their number, not with the square of the atoms."""
    parts: list[tuple[Ints, Ints, Floats, Floats]] = []
    for x, start in zip(where, begin.tolist(), strict=True):
        rows = max(1, BLOCK // max(len(x), 1))
        for first in range(0, len(x), rows):
            v = x[None] - x[first : first + rows, None]
            with np.errstate(over="ignore"):  # atoms that are infinitely far apart are not near
                distance = np.sqrt(v[..., 0] ** 2 + v[..., 1] ** 2 + v[..., 2] ** 2)
            near = distance <= reach
            near[np.arange(len(near)), first + np.arange(len(near))] = False
            i, j = np.nonzero(near)
            parts.append((start + first + i, start + j, distance[i, j], v[i, j]))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3)))
    i, j, distance, v = (np.concatenate(each) for each in zip(*(parts or [empty]), strict=True))
    kind = np.full(len(i), APART, np.int64)
    total = int(begin[-1]) + len(where[-1]) if where else 0
    if len(i) and len(bonds):
        pair = i * total + j
        wanted = bonds[:, 0] * total + bonds[:, 1]
        at = np.minimum(np.searchsorted(pair, wanted), len(pair) - 1)
        hit = pair[at] == wanted
        kind[at[hit]] = bonds[hit, 2]
    pairs = _Pairs(i, j, distance, kind, v)
    return pairs if settings.include_disconnected else pairs.where(kind != APART)
