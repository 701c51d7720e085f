"""`molecule.mol3d`: a molecule as SELFIES symbols that know what lies around their atoms, and its geometry.

item -> Codes.ids int64 [n]: the symbols of `molecule.selfies`; then, where the item has coordinates and `write`
names a way, the mark "3D" and a few codes for each atom, in the order of the symbols' atoms.
Codes.side["shells"] int64 [n, levels + 1]: the E3FP ids of the atom that a symbol makes, -1 elsewhere.

Items are those of `molecule.selfies`; in space are `Chem.Mol` with a 3D conformer, SDF files and CXSMILES
strings with coordinates, which are taken as they are. With `embed` the others get an ETKDG conformer.
Every prefix of legal codes decodes: to a `Smiles`, or to a `Chem.Mol` in space if it tells of atoms.

Reading after Pei et al. 2024 (3D-MolT5, arXiv 2406.05797) and Axen et al. 2017; each level has ids of its own,
and a symbol's vectors are those of its atom alone. `compat="3dmolt5"` gives that paper's one folded table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from rdkit import Chem

from unitok.modality import BadCodes, BadItem, Codes, Item, Legal, Modality, Side, Spec

from . import structure
from .align import creates
from .bins import checked
from .conformers import Conformers, Params
from .e3fp import atom_ids
from .posed import PLACES, carry, heavy, in_space
from .selfies import Selfies
from .stereo import Ints
from .symbols import SelfiesText
from .told import as_written
from .written import Bins, Ranked, Way

if TYPE_CHECKING:
    from PIL import Image

CHANNEL = "shells"


class Mol3D(Modality):
    """Molecules with geometry.

    Args:
        constraints, longest, alphabet: see `Selfies`.
        levels: last E3FP level that symbols are told of.
        bits: ids of each level are folded to so many.
        write: "bins" or "ids", how coordinates are written; "none": they are read only.
        embed: whether items without coordinates get an ETKDG conformer.
        conformers: folder of prepared conformers (tools/make_conformers.py), used and filled by `embed`.
        count: conformers to choose among where `write` is "ids".
        compat: "3dmolt5" for one table of 4,096 ids for the levels 0 to 3, as in that paper.
    """

    suffixes = structure.SUFFIXES

    def __init__(
        self,
        constraints: str = "default",
        longest: int = 192,
        alphabet: str | Path | None = None,
        levels: int = 2,
        bits: int = 1024,
        write: Literal["none", "bins", "ids"] = "bins",
        embed: bool = False,
        conformers: str | Path | None = None,
        count: int = 16,
        compat: Literal["unitok", "3dmolt5"] = "unitok",
    ) -> None:
        if levels < 0 or bits < 1:
            raise ValueError(f"levels={levels}, bits={bits} are out of range: 0 and up, and 1 and up")
        if compat not in ("unitok", "3dmolt5"):
            raise ValueError(f"compat={compat!r} is not known: use 'unitok' or '3dmolt5'")
        self.plain = Selfies(constraints, longest, alphabet)
        self.folded = compat == "3dmolt5"
        self.levels, self.bits = (3, 4096) if self.folded else (levels, bits)
        self.way = _way(write, self.levels, self.bits, count)
        self.embed = embed
        self.cache = Conformers(conformers, Params()) if embed else None
        parts = self.way.parts if self.way else ()
        self.mark = self.plain.spec.size
        self._offsets = [self.mark + 1 + sum(parts[:k]) for k in range(len(parts))]
        size = self.mark + (1 + sum(parts) if parts else 0)
        table = self.bits if self.folded else (self.levels + 1) * self.bits
        most = longest * (1 + len(parts)) + (1 if parts else 0)
        meaning = json.dumps(
            ["mol3d 1", self.plain.spec.fingerprint, self.levels, self.bits, write, compat, embed]
        )
        self.spec = Spec(
            "molecule",
            size,
            (1, most),
            fingerprint=hashlib.sha256(meaning.encode()).hexdigest(),
            side={CHANNEL: Side("ids", width=self.levels + 1, size=table)},
        )

    # -- items to codes -------------------------------------------------------------------------------

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Molecules to codes.

        Raises:
            BadItem: as `Selfies.encode`; coordinates that are not finite, or with bonds no molecule has; no conformer
                where one is asked for.
        """
        mols = [self._bare(index, item) for index, item in enumerate(items)]
        plain = self.plain.encode(mols)
        posed: list[Chem.Mol | None] = []
        for index, (item, codes) in enumerate(zip(mols, plain, strict=True)):
            try:
                posed.append(self._posed(item, codes))
            except ValueError as error:
                raise BadItem(index, str(error)) from error
        there = [mol for mol in posed if mol is not None]
        shells = iter(self._shells(there))
        written = iter(self.way.write(there) if self.way else [None] * len(there))
        given = [
            mol is not None and (not self.embed or _has_own(item))
            for mol, item in zip(posed, mols, strict=True)
        ]
        out = []
        for codes, mol, own in zip(plain, posed, given, strict=True):
            if mol is None:
                out.append(Codes(codes.ids, {CHANNEL: self._absent(len(codes))}))
            else:
                geometry = next(written)
                out.append(self._joined(codes.ids, next(shells), geometry if own else None))
        return out

    def _bare(self, index: int, item: Item) -> Item:
        """The item without hydrogens; a CXSMILES string as the molecule that it describes."""
        try:
            if isinstance(item, str) and PLACES.search(item):
                item = as_written(item)
            return heavy(item) if isinstance(item, Chem.Mol) else item
        except ValueError as error:
            raise BadItem(index, str(error)) from error

    def _posed(self, item: Item, codes: Codes) -> Chem.Mol | None:
        """The molecule in space, its atoms in the order of the symbols; None without coordinates."""
        if not (_has_own(item) or self.embed):
            return None
        target = self._drawn(tuple(codes.ids.tolist()))
        if _has_own(item):
            posed = carry(item, target)
            checked(posed, posed.GetConformer().GetPositions())
            return posed
        assert self.cache is not None
        return self.cache.one(target)

    @lru_cache(maxsize=256)  # noqa: B019  a prefix is asked for again and again while its geometry is written
    def _drawn(self, ids: tuple[int, ...]) -> Chem.Mol:
        """The structure of these symbols, its atoms in their order."""
        return self.plain.mol(SelfiesText("".join(self.plain.symbols[i] for i in ids)))

    def rows(self, symbols: Sequence[str], ids: Ints) -> Ints:
        """Atoms' ids [atoms, levels + 1], in the order of the symbols' atoms, as rows of symbols, -1 elsewhere.

        Raises:
            ValueError: the symbols make another number of atoms.
        """
        made = creates(symbols, self.plain.rules)
        if max(made, default=-1) + 1 != len(ids):
            # Hydrogens that are written out are atoms for SELFIES and none for RDKit.
            kept = iter(range(len(symbols)))
            made = [
                next(kept) if at >= 0 and symbols[k].strip("[]=#/\\") != "H" else -1
                for k, at in enumerate(made)
            ]
        if max(made, default=-1) + 1 != len(ids):
            raise ValueError(
                f"{''.join(symbols)[:60]} makes another number of atoms than {len(ids)}: leave it out"
            )
        spread = np.concatenate([ids, np.full((1, ids.shape[1]), -1, np.int64)])
        return spread[made]

    def _shells(self, mols: list[Chem.Mol]) -> list[Ints]:
        """Ids of each atom, [atoms, levels + 1], every level in its own range unless they share a table."""
        found: list[Ints] = atom_ids(
            mols,
            level=self.levels,
            bits=self.bits,
            rdkit_invariants=True,
            exclude_floating=not self.folded,
            replace_duplicates=self.folded,
        )
        offsets = 0 if self.folded else self.bits * np.arange(self.levels + 1)
        return [np.where(ids < 0, -1, ids + offsets) for ids in found]

    def _absent(self, count: int) -> torch.Tensor:
        return torch.full((count, self.levels + 1), -1, dtype=torch.int64)

    def _joined(self, ids: torch.Tensor, shells: Ints, geometry: Ints | None) -> Codes:
        rows = torch.from_numpy(self.rows([self.plain.symbols[i] for i in ids.tolist()], shells))
        if geometry is None:
            return Codes(ids, {CHANNEL: rows})
        tail = torch.from_numpy(geometry + np.array(self._offsets)).flatten()
        ids = torch.cat([ids, torch.tensor([self.mark]), tail])
        return Codes(ids, {CHANNEL: torch.cat([rows, self._absent(1 + len(tail))])})

    # -- codes to items -------------------------------------------------------------------------------

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Codes to canonical SMILES, or to molecules in space where geometry is written.

        Raises:
            BadCodes: as `Selfies.decode`; codes after the mark out of place, cut within an atom or too many.
        """
        return [self._item(one.ids.tolist()) for one in codes]

    def _item(self, ids: list[int]) -> Item:
        at = ids.index(self.mark) if self.mark in ids else len(ids)
        (smiles,) = self.plain.decode([Codes(torch.tensor(ids[:at], dtype=torch.int64))])
        rest = ids[at + 1 :]
        if not rest:
            return smiles
        assert self.way is not None
        parts = len(self._offsets)
        mol = self._drawn(tuple(ids[:at]))
        if len(rest) % parts or len(rest) > parts * mol.GetNumAtoms():
            raise BadCodes(
                f"{len(rest)} codes of geometry for {mol.GetNumAtoms()} atoms: each has {parts}, or none from some on"
            )
        table = np.array(rest, np.int64).reshape(-1, parts) - np.array(self._offsets)
        if (table < 0).any() or (table >= np.array(self.way.parts)).any():
            raise BadCodes(f"a code of geometry is out of place: an atom's codes have sizes {self.way.parts}")
        return self.way.place(mol, table) or smiles

    def legal(self, prefix: Sequence[int]) -> Legal:
        """Symbols, then the mark, then as many codes as the atoms have; a body may end after any atom."""
        at = self._mark(prefix)
        if at is None:
            legal = self.plain.legal(prefix)
            if len(prefix) >= (self.plain.spec.length[1] or 0):
                legal = Legal((), end=legal.end)
            return (
                Legal((*legal.ranges, range(self.mark, self.mark + 1)), legal.end)
                if legal.end and self.way
                else legal
            )
        assert self.way is not None
        atom, part = divmod(len(prefix) - at - 1, len(self._offsets))
        if atom >= self._drawn(tuple(prefix[:at])).GetNumAtoms():
            return Legal((), end=True)
        start = self._offsets[part]
        return Legal((range(start, start + self.way.parts[part]),), end=part == 0)

    def shortest_end(self, prefix: Sequence[int]) -> int:
        """To the next atom's end."""
        at = self._mark(prefix)
        return self.plain.shortest_end(prefix) if at is None else -(len(prefix) - at - 1) % len(self._offsets)

    def _mark(self, prefix: Sequence[int]) -> int | None:
        return next((at for at, one in enumerate(prefix) if one == self.mark), None) if self.way else None

    # -- files, pictures, comparison ------------------------------------------------------------------

    def mol(self, item: Item) -> Chem.Mol:
        """The RDKit structure of any item that `encode` takes. ValueError where there is none."""
        if isinstance(item, str) and PLACES.search(item):
            return as_written(item)
        return self.plain.mol(item)

    def read(self, data: bytes, suffix: str) -> Item:
        """One molecule of a .smi, .sdf or .mol file."""
        return self.plain.read(data, suffix)

    def write(self, item: Item, suffix: str) -> bytes:
        """A .smi, .sdf or .mol file."""
        return structure.write(self.mol(item), suffix)

    def show(self, item: Item) -> Image.Image:
        """The drawn structure, 256 x 256 RGB; if the item is in space the view of it at the right, 512 x 256."""
        mol = self.mol(item)
        drawn = structure.draw(mol)
        if not in_space(mol):
            return drawn
        from .view3d import beside

        return beside(drawn, mol)

    def compare(self, a: Item, b: Item) -> dict[str, float]:
        """{"exact", "tanimoto"} of `Selfies`, and of two equal molecules in space {"rmsd"}, Angstrom."""
        one, two = heavy(self.mol(a)), heavy(self.mol(b))
        out = structure.compare(one, two)
        if out["exact"] and in_space(one) and in_space(two):
            from .rmsd import rmsd

            out["rmsd"] = rmsd(one, two)
        return out

    def label(self, item: Item) -> str:
        """Canonical SMILES."""
        return structure.canonical(heavy(self.mol(item)))

    def variants(self, item: Item, count: int) -> list[Item]:
        """SELFIES strings with the atoms in other orders; of a molecule in space itself alone."""
        bare = self._bare(0, item)
        return [item] if _has_own(bare) else self.plain.variants(bare, count)


def _has_own(item: Item) -> bool:
    return isinstance(item, Chem.Mol) and in_space(item)


def _way(write: str, levels: int, bits: int, count: int) -> Way | None:
    if write == "none":
        return None
    if write == "bins":
        return Bins()
    if write == "ids":
        return Ranked(levels, bits, count)
    raise ValueError(f"write={write!r} is not known: use 'none', 'bins' or 'ids'")
