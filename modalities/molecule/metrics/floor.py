"""Coordinates that know nothing of the molecule: codes drawn as often as training molecules have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rdkit import Chem

from ..bins import from_codes
from ..files import text_of
from ..posed import canonical_order, from_cxsmiles, heavy, in_space, placed
from ..sdf import structures
from ..stereo import Ints
from ..written import Way

MOST = 2000
"""Training molecules that are counted."""


class Drawn:
    """Codes drawn from the unigram of each part.

    Args:
        way: how coordinates are written.
        train: molecules in space, at least one; the first `MOST` are counted.
        seed: of the draws.

    Raises:
        ValueError: no molecule, or none with coordinates that can be written.
    """

    def __init__(self, way: Way, train: Sequence[Chem.Mol], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        rows = []
        for mol in train[:MOST]:
            try:
                rows += way.write([_ordered(mol)])
            except ValueError:  # bonds that no molecule has
                continue
        if not rows:
            raise ValueError("no training molecule has coordinates that can be written: give some in space")
        self.table = np.concatenate(rows)

    def codes(self, mol: Chem.Mol) -> Ints:
        """Codes int64 [atoms, parts]; every one is drawn for itself."""
        rows = self.random.integers(len(self.table), size=(mol.GetNumAtoms(), self.table.shape[1]))
        return np.take_along_axis(self.table, rows, axis=0)

    def placed(self, mol: Chem.Mol) -> Chem.Mol:
        """The molecule where codes of bins that are drawn place it, its atoms as its canonical SMILES names them.

        Raises:
            ValueError: the codes are none of bins.
        """
        bare = _ordered(mol)
        return placed(bare, from_codes(bare, self.codes(bare)))


def training(path: Path) -> list[Chem.Mol]:
    """The first `MOST` molecules in space of an SDF file, or the training answers of a file of records; .zst and .gz too.

    Raises:
        ValueError: there is none.
    """
    out: list[Chem.Mol] = []
    sdf = (one.mol for one in structures(path) if one.mol is not None)
    for mol in _records(path) if ".jsonl" in path.suffixes else sdf:
        if len(out) < MOST and in_space(mol):
            out.append(heavy(mol))
    if not out:
        raise ValueError(
            f"{path} has no molecule in space: give an SDF file with coordinates, or records of the task place"
        )
    return out


def _records(path: Path) -> Iterator[Chem.Mol]:
    for number, line in enumerate(filter(str.strip, text_of(path).split("\n")), start=1):
        try:
            record = json.loads(line)
            if record["split"] == "train":
                yield from (
                    from_cxsmiles(part["molecule"]) for part in record["turns"][-1]["content"] if part
                )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path}: record {number} is none of the task place ({error!r})") from error


def _ordered(mol: Chem.Mol) -> Chem.Mol:
    """Every atom bonded to an earlier one, as bins want it."""
    return Chem.RenumberAtoms(mol, canonical_order(mol))
