"""Conformers of a file's molecules, made once: `python tools/make_conformers.py zinc250k.smi --out conformers --workers 8`.

INPUT: .smi (a SMILES at the start of each line), .csv or .tsv (a header; the column is --column), .jsonl (the field
is --column) or .sdf, each also as .gz or .zst. Records of an .sdf that have 3D coordinates are kept as they are, in
place of a search; of equal molecules the last counts.

--out gets conformers.sqlite, which `molecule.mol3d` reads (option conformers), and failures.tsv: number of the
record, from 1, SMILES and reason of each molecule of this file that has no conformer. What is in the folder
already is not made again, so a run that was stopped goes on; several may write to one folder at once.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from rdkit import Chem, rdBase
from rich.console import Console

from modalities.molecule.conformers import Conformers, Failure, Params
from modalities.molecule.files import opened
from modalities.molecule.posed import heavy, in_space
from unitok.command import command

SUFFIXES = (".smi", ".csv", ".tsv", ".jsonl", ".sdf")
AT_ONCE = 4096
"""Molecules between two looks into the folder."""


def molecules(path: Path, column: str = "smiles") -> Iterator[str | Chem.Mol | None]:
    """SMILES or structures of a file, one for each record; None for a structure that RDKit cannot read.

    Raises:
        ValueError: another kind of file, a column or field that is not there, text that is not UTF-8 or not JSON.
    """
    kind = Path(path.stem).suffix if path.suffix in (".gz", ".zst") else path.suffix
    if kind not in SUFFIXES:
        raise ValueError(f"{path} is of no known kind: give {', '.join(SUFFIXES)}, plain, .gz or .zst")
    with opened(path) as stream:
        if kind == ".sdf":
            with rdBase.BlockLogs():
                yield from Chem.ForwardSDMolSupplier(stream)
            return
        lines = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig", newline="")
        try:
            if kind == ".smi":
                yield from (line.split()[0] for line in lines if line.strip())
            elif kind == ".jsonl":
                yield from (_field(path, n, line, column) for n, line in enumerate(lines, 1) if line.strip())
            else:
                yield from _column(path, lines, column, "\t" if kind == ".tsv" else ",")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}: byte {error.start} of a part is not UTF-8: give a text file"
            ) from error


def _field(path: Path, number: int, line: str, name: str) -> str:
    try:
        record: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number} is not JSON ({error.msg}): mend it") from error
    found = record.get(name) if isinstance(record, dict) else None
    if not isinstance(found, str):
        raise ValueError(f"{path}, line {number} has no string {name!r}: name the field with --column")
    return found


def _column(path: Path, lines: IO[str], name: str, delimiter: str) -> Iterator[str]:
    """One column, found whatever its case. MolT5's tables quote nothing, and double their backslashes."""
    quoting: Any = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    rows = csv.DictReader(lines, delimiter=delimiter, quoting=quoting)
    names = {one.lower(): one for one in rows.fieldnames or ()}
    if name.lower() not in names:
        raise ValueError(f"{path} has the columns {', '.join(names.values())}: name one with --column")
    for row in rows:
        yield (row[names[name.lower()]] or "").replace("\\\\", "\\")


def make(
    path: Path, out: Path, params: Params, workers: int, column: str = "smiles"
) -> tuple[int, list[Failure]]:
    """Fill the folder; how many records there are, and those without a conformer."""
    known, count, failures = Conformers(out, params), 0, []
    records = molecules(path, column)
    while part := list(islice(records, AT_ONCE)):
        searched: list[tuple[int, str]] = []
        given: list[Chem.Mol] = []
        for number, one in enumerate(part, count):
            try:
                if one is None:
                    failures.append(Failure(number, "", "RDKit cannot read this record: mend it"))
                elif isinstance(one, str):
                    searched.append((number, one))
                elif in_space(one):
                    given.append(heavy(one))
                else:
                    searched.append((number, Chem.MolToSmiles(one)))
            except ValueError as error:
                failures.append(Failure(number, Chem.MolToSmiles(one), str(error)))
        known.keep(given)
        found = known.prepare([smiles for _, smiles in searched], workers, progress=True)
        failures += [one._replace(place=searched[one.place][0]) for one in found]
        count += len(part)
    return count, sorted(failures)


def main(arguments: list[str] | None = None) -> None:
    """Make them, and say how many."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, metavar="INPUT")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--column", default="smiles", help="column or field of SMILES (%(default)s)")
    parser.add_argument("--seed", type=int, default=Params.seed)
    parser.add_argument("--attempts", type=int, default=Params.attempts)
    parser.add_argument(
        "--iterations", type=int, default=Params.iterations, help="of an attempt (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=int, default=Params.seconds, help="limit of an attempt (%(default)s)"
    )
    parser.add_argument("--relax", action="store_true", help="with MMFF94")
    options = parser.parse_args(arguments)
    params = Params(options.seed, options.attempts, options.iterations, options.seconds, options.relax)
    count, failures = make(options.input, options.out, params, options.workers, options.column)
    table = options.out / "failures.tsv"
    table.parent.mkdir(parents=True, exist_ok=True)
    lines = ("\t".join((str(one.place + 1), one.smiles, " ".join(one.reason.split()))) for one in failures)
    table.write_text("".join(f"{line}\n" for line in ("record\tsmiles\treason", *lines)), encoding="utf-8")
    Console().print(
        f"{count} molecules, {count - len(failures)} with a conformer in {options.out}; {len(failures)} without: {table}",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    command(main)
