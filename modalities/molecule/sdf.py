"""Records of an SDF file one by one; a record that cannot be read says why, and the rest goes on.

    structures(path) -> Record(1, Mol), Record(2, None, "..."), ...

Records end with a line "$$$$" (BIOVIA, CTfile formats). RDKit's own reader gives None without a reason, and ends a
file at a byte that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rdkit import Chem, rdBase

from .files import opened
from .structure import sized

END = b"$$$$"


class Record(NamedTuple):
    """A record: its number, from 1, and its structure; or none, and the reason."""

    number: int
    mol: Chem.Mol | None
    reason: str = ""


def structures(path: Path) -> Iterator[Record]:
    """Structures of a file, without hydrogens that a formula leaves out, 3D where the record is; .gz or .zst too.

    Raises:
        OSError: the file cannot be read or unpacked.
    """
    for number, data in enumerate(_blocks(path), 1):
        try:
            yield Record(number, parsed(data.decode("utf-8-sig")))
        except UnicodeDecodeError as error:
            yield Record(number, None, f"byte {error.start + 1} is not UTF-8: save the record as UTF-8")
        except ValueError as error:
            yield Record(number, None, str(error))


def parsed(block: str) -> Chem.Mol:
    """The structure of one record.

    Raises:
        ValueError: it cannot be read, has no atoms or too many, or holds two structures.
    """
    lines = [line.rstrip() for line in block.splitlines()]
    if lines.count("M  END") > 1:
        raise ValueError("the record holds two structures: part them by a line $$$$")
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block)
        if mol is not None and not mol.GetNumAtoms():
            raise ValueError("the record has no atoms: leave it out")
        if mol is not None:
            return sized(mol)
        raw = Chem.MolFromMolBlock(block, sanitize=False)
        problems = [] if raw is None else [one.Message() for one in Chem.DetectChemistryProblems(raw)]
    if problems:
        raise ValueError(f"it is no possible molecule ({problems[0]}): mend the structure")
    raise ValueError("the MOL block is damaged: RDKit cannot read it")


def _blocks(path: Path) -> Iterator[bytes]:
    block: list[bytes] = []
    with opened(path) as stream:
        for line in stream:
            if line.rstrip() == END:
                yield b"".join(block)
                block = []
            else:
                block.append(line)
    if b"".join(block).strip():
        yield b"".join(block)
