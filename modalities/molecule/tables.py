"""Tables, lists and JSON lines of molecules, row by row; a row that cannot be read says why, and the rest goes on.

    cells(path, "SMILES", "description") -> Row(line 2, ["CCO", "The molecule is ethanol."]), ...
    fields(path, "smiles") -> the same of JSON lines          lines(path) -> of a list of SMILES, with titles left out

A table's first line names the columns, in any order and case. A tab in it separates by tabs, and quotes mean nothing, as
in MolT5's files; otherwise commas separate, and quotes hold a cell together. Files may be .gz or .zst.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .files import opened

ODD = "surrogateescape"
"""How bytes that are not UTF-8 are carried up to the row that they stand in."""
BYTES = re.compile("[\udc80-\udcff]")


class Row(NamedTuple):
    """A row: its line, from 1, and the wanted cells; or no cells, and the reason."""

    line: int
    cells: list[str]
    reason: str = ""


def header(path: Path) -> list[str]:
    """The names of a table's columns.

    Raises:
        ValueError: the file is empty.
        OSError: it cannot be read or unpacked.
    """
    with _text(path) as text:
        return _header(path, text)[0]


def cells(path: Path, *wanted: str) -> Iterator[Row]:
    """The wanted columns of each row that is not blank.

    Raises:
        ValueError: the file is empty, or a column is not there or there twice.
        OSError: it cannot be read or unpacked.
    """
    with _text(path) as text:
        names, tabs = _header(path, text)
        places = [_place(path, names, one, wanted) for one in wanted]
        for line, row, reason in _tabbed(text) if tabs else _quoted(text):
            if row and not reason and len(row) != len(names):
                reason = f"{len(row)} columns where the header names {len(names)}"
            if row or reason:
                found = [] if reason else [row[place] for place in places]
                yield _checked(Row(line, found, reason))


def fields(path: Path, *wanted: str) -> Iterator[Row]:
    """The wanted fields of each JSON line, which are strings.

    Raises:
        OSError: the file cannot be read or unpacked.
    """
    with _text(path) as text:
        for line, said in enumerate(text, 1):
            if not said.strip():
                continue
            try:
                record: Any = json.loads(said)
            except (ValueError, RecursionError) as error:
                yield Row(line, [], f"not JSON ({error})")
                continue
            found = [record.get(one) if isinstance(record, dict) else None for one in wanted]
            if all(isinstance(one, str) for one in found):
                yield _checked(Row(line, found))
            else:
                names = " and ".join(f'"{one}"' for one in wanted)
                yield Row(line, [], f"no object with the string{'s' * (len(wanted) > 1)} {names}")


def lines(path: Path) -> Iterator[Row]:
    """The SMILES at the start of each line that is not blank.

    Raises:
        OSError: the file cannot be read or unpacked.
    """
    with _text(path) as text:
        for line, said in enumerate(text, 1):
            if said.strip():
                yield _checked(Row(line, said.split()[:1]))


def mended(smiles: str) -> str:
    r"""A SMILES with `\` where the file has `\\`, as MolT5's tables do: no bond has two."""
    return smiles.replace("\\\\", "\\")


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOWrapper]:
    with opened(path) as stream:
        yield io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig", errors=ODD, newline="\n")


def _header(path: Path, text: io.TextIOWrapper) -> tuple[list[str], bool]:
    """The columns' names, and whether tabs separate them."""
    first = next((line for line in text if line.strip()), "").strip("\r\n")
    if not first:
        raise ValueError(f"{path} is empty: it needs a first line that names the columns, and rows")
    if BYTES.search(first):
        raise ValueError(f"the first line of {path} is not UTF-8: save the table as UTF-8")
    tabs = "\t" in first
    names = first.split("\t") if tabs else next(csv.reader([first]))
    return [name.strip() for name in names], tabs


def _place(path: Path, names: Sequence[str], name: str, wanted: Sequence[str]) -> int:
    """Where a column is; its own case goes before others."""
    found = [at for at, one in enumerate(names) if one == name]
    found = found or [at for at, one in enumerate(names) if one.lower() == name.lower()]
    if len(found) > 1:
        raise ValueError(f"{path} has the column {name!r} {len(found)} times: leave one")
    if not found:
        raise ValueError(
            f"{path} has the columns {', '.join(names)} and none called {name!r}: give a table, separated by tabs or "
            f"commas, whose first line names {', '.join(wanted)}"
        )
    return found[0]


def _tabbed(text: io.TextIOWrapper) -> Iterator[tuple[int, list[str], str]]:
    for line, said in enumerate(text, 2):
        said = said.rstrip("\n").removesuffix("\r")
        yield line, said.split("\t") if said.strip() else [], ""


def _quoted(text: io.TextIOWrapper) -> Iterator[tuple[int, list[str], str]]:
    rows = csv.reader(text, strict=True)
    while True:
        line = rows.line_num + 2
        try:
            yield line, next(rows), ""
        except StopIteration:
            return
        except csv.Error as error:
            lost = f" (lines {line} to {rows.line_num + 1} are lost)" if rows.line_num + 1 > line else ""
            yield line, [], f"the row cannot be read ({error}){lost}"


def _checked(row: Row) -> Row:
    """Refuse bytes that are not UTF-8."""
    if any(map(BYTES.search, row.cells)):
        return Row(row.line, [], "bytes that are not UTF-8")
    return row
