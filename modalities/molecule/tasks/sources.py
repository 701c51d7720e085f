"""Rows of the tables, lists and SDF files that tasks are made from; one that cannot be read carries its reason.

Keys are FILE/ROW (lists: FILE/LINE), counted from 0; how each file is read is told in `tables` and `sdf`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from rdkit import Chem

from .. import sdf
from ..posed import heavy, in_space, possible
from ..tables import Row as Line
from ..tables import cells, header, lines, mended
from .properties import GIVEN

SPEC = re.compile(r"((?:[A-Za-z]:(?=[\\/]))?[^:]+):([^:]+)(?::(.*))?")
"""FILE:COLUMN or FILE:COLUMN:NAME; a file's drive letter is its own."""
CLASSES = {"0": "no", "1": "yes", "0.0": "no", "1.0": "yes"}


class Row(NamedTuple):
    """A molecule and what stands beside it; or the reason why there is none."""

    key: str
    smiles: str
    beside: Any = None
    reason: str = ""


def captions(path: Path) -> Iterator[Row]:
    """SMILES and description of MolT5's tables.

    Raises:
        ValueError: a column is not there.
    """
    for key, line in _keyed(path.name, cells(path, "SMILES", "description")):
        if line.reason:
            yield _bad(key, line)
        elif not line.cells[1].strip():
            yield Row(key, line.cells[0], reason=f"line {line.line}: the description is empty")
        else:
            yield Row(key, mended(line.cells[0]), line.cells[1])


def names() -> Iterator[Row]:
    """IUPAC name and synonyms of PyPI chemicals."""
    import chemicals

    source = Path(chemicals.__file__).parent / "Identifiers" / "chemical identifiers pubchem large.tsv"
    for line in source.read_text(encoding="utf-8").splitlines():
        found = line.split("\t")
        if len(found) > 7 and found[7]:
            yield Row(f"cas/{found[1]}", found[4], (found[7], found[8:]))


def structures(path: Path) -> Iterator[Row]:
    """A list of SMILES, or a table with a column of them."""
    plain = lines(path)
    first = list(islice(plain, 1))
    if first and _smiles_column(header(path)):
        for key, line in _keyed(path.name, cells(path, _smiles_column(header(path)))):
            yield _bad(key, line) if line.reason else Row(key, mended(line.cells[0]))
        return
    for line in chain(first, plain):
        key = f"{path.name}/{line.line - 1}"
        yield _bad(key, line) if line.reason else Row(key, line.cells[0])


def orbitals(path: Path) -> Iterator[Row]:
    """QM9's columns, hartree.

    Raises:
        ValueError: a column is not there.
    """
    for key, line in _keyed(path.name, cells(path, "smiles", *GIVEN)):
        if line.reason:
            yield _bad(key, line)
            continue
        smiles, *said = line.cells
        values = {name: _number(value) for name, value in zip(GIVEN, said, strict=True)}
        lost = [name for name, value in values.items() if value is None]
        reason = f"line {line.line}: {lost[0]} is no number" if lost else ""
        yield Row(key, smiles, values, reason)


def columns(spec: str) -> Iterator[Row]:
    """Cells of FILE:COLUMN or FILE:COLUMN:NAME; a column that holds 0 and 1 alone is a class.

    Raises:
        ValueError: no such form or column.
    """
    parts = SPEC.fullmatch(spec)
    if parts is None:
        raise ValueError(f"--table {spec!r} names no column: write FILE:COLUMN or FILE:COLUMN:NAME")
    path, column, name = Path(parts[1]), parts[2], parts[3]
    found = list(cells(path, _smiles_column(header(path)) or "smiles", column))
    kinds = {line.cells[1].strip() for line in found if line.cells} - {""}
    words = CLASSES if kinds <= CLASSES.keys() else {}
    for key, line in _keyed(f"{path.name}/{column}", found):
        if line.reason:
            yield _bad(key, line)
            continue
        smiles, value = line.cells[0], line.cells[1].strip()
        odd = value.lower() not in ("", "nan", *words) and _number(value) is None
        reason = f"line {line.line}: {column} is {value[:40]!r}, which is no number" if odd else ""
        yield Row(key, mended(smiles), (name or column, words.get(value, value)), reason)


def posed(path: Path) -> Iterator[Row]:
    """Molecules of an SDF file with their coordinates, or of a list of SMILES without."""
    if ".sdf" not in path.suffixes:
        yield from structures(path)
        return
    for number, mol, reason in sdf.structures(path):
        key = f"{path.name}/{number - 1}"
        if mol is None:
            yield Row(key, "", reason=f"record {number}: {reason}")
            continue
        smiles = str(Chem.MolToSmiles(mol))
        try:
            if not in_space(mol):
                raise ValueError("it is flat: give 3D coordinates, or its SMILES in a list")
            yield Row(key, smiles, possible(heavy(mol)))
        except ValueError as error:
            yield Row(key, smiles, reason=f"record {number}: {error}")


def _keyed(name: str, found: Any) -> Iterator[tuple[str, Line]]:
    for number, line in enumerate(found):
        yield f"{name}/{number}", line


def _bad(key: str, line: Line) -> Row:
    return Row(key, "", reason=f"line {line.line}: {line.reason}")


def _smiles_column(found: list[str]) -> str:
    """The name of the column of SMILES, "" if there is none."""
    return next((one for one in found if one.lower() in ("smiles", "mol")), "")


def _number(value: str) -> float | None:
    """A finite number; None for anything else."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
