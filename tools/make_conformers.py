"""Conformers of a file's molecules, made once: `python tools/make_conformers.py zinc250k.smi --out conformers --workers 8`.

INPUT: .smi (a SMILES at the start of each line), .csv, .tsv or .txt (a header, with tabs or commas between columns;
that of SMILES is --column), .jsonl (the field is --column) or .sdf, each also as .gz or .zst. Records of an .sdf that have 3D coordinates are kept as they are, in
place of a search; of equal molecules the last counts.

--out gets conformers.sqlite, which `molecule.mol3d` reads (option conformers), and failures.tsv: number of the
record, from 1, SMILES and reason of each molecule of this file that has no conformer. What is in the folder
already is not made again, so a run that was stopped goes on; several may write to one folder at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rdkit import Chem
from rich.console import Console

from modalities.molecule.conformers import Conformers, Failure, Params
from modalities.molecule.posed import heavy, in_space, possible
from modalities.molecule.sdf import structures
from modalities.molecule.tables import cells, fields, lines
from unitok.command import command

SUFFIXES = (".smi", ".csv", ".tsv", ".txt", ".jsonl", ".sdf")
AT_ONCE = 4096
"""Molecules between two looks into the folder."""


def molecules(path: Path, column: str = "smiles") -> Iterator[tuple[str | Chem.Mol, str]]:
    """SMILES or structure of each record, and an empty reason; or what it could be called, and why it cannot be read.

    Raises:
        ValueError: another kind of file, or a column that is not there.
        OSError: a file that cannot be read or unpacked.
    """
    kind = Path(path.stem).suffix if path.suffix in (".gz", ".zst") else path.suffix
    if kind == ".sdf":
        yield from ((one.mol or "", one.reason) for one in structures(path))
    elif kind == ".smi":
        yield from (("".join(row.cells), row.reason) for row in lines(path))
    elif kind == ".jsonl":
        yield from (("".join(row.cells), row.reason) for row in fields(path, column))
    elif kind in (".csv", ".tsv", ".txt"):
        # MolT5's tables double their backslashes.
        yield from (("".join(row.cells).replace("\\\\", "\\"), row.reason) for row in cells(path, column))
    else:
        raise ValueError(f"{path} is of no known kind: give {', '.join(SUFFIXES)}, plain, .gz or .zst")


def make(
    path: Path, out: Path, params: Params, workers: int, column: str = "smiles"
) -> tuple[int, list[Failure]]:
    """Fill the folder; how many records there are, and those without a conformer."""
    known, count, failures = Conformers(out, params), 0, []
    records = molecules(path, column)
    while part := list(islice(records, AT_ONCE)):
        searched: list[tuple[int, str]] = []
        given: list[Chem.Mol] = []
        for number, (one, reason) in enumerate(part, count):
            if reason:
                failures.append(Failure(number, "", reason))
            elif isinstance(one, str):
                searched.append((number, one))
            elif in_space(one):
                try:
                    given.append(possible(heavy(one)))
                except ValueError as error:
                    failures.append(Failure(number, Chem.MolToSmiles(one), str(error)))
            else:
                searched.append((number, Chem.MolToSmiles(one)))
        known.keep(given)
        found = known.prepare([smiles for _, smiles in searched], workers, progress=True)
        failures += [one._replace(place=searched[one.place][0]) for one in found]
        count += len(part)
    if not count:
        raise ValueError(f"{path} has no record: give a file with at least one molecule")
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
    rows = ((str(one.place + 1), *(" ".join(said.split()) for said in one[1:])) for one in failures)
    said = ("record\tsmiles\treason", *("\t".join(row) for row in rows))
    table.write_text("".join(f"{line}\n" for line in said), encoding="utf-8")
    Console().print(
        f"{count} molecules, {count - len(failures)} with a conformer in {options.out}; {len(failures)} without: {table}",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    command(main)
