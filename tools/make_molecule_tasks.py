"""Training tasks on molecules as records: `python tools/make_molecule_tasks.py OUT --captions FILE --names`.

    python tools/make_molecule_tasks.py data/molecules --captions chebi20_validation.txt --exclude chebi20_test.txt \\
        --names --structures zinc250k.smi --qm9 qm9.csv --space gdb1k.sdf

OUT gets one .jsonl for each task that its sources allow; recipes/configs/molecule/*.toml read them:
  captions      caption (molecule -> text), molecule (text -> molecule), caption_like and molecule_like (the same beside
                one of the --examples most similar training molecules or descriptions), wrapped (names replaced by molecules)
  names         iupac (molecule -> IUPAC name), named (name -> molecule), from PyPI chemicals
  both of them  echo (spans of descriptions and names, to be said again)
  structures    denoise (SELFIES without some spans -> SELFIES), computed (MW, logP, TPSA)
  qm9           orbitals (HOMO, LUMO, gap)
  tables        table (any column of any table, such as MoleculeNet's)
  space         place (molecule -> coordinates), seen (coordinates -> molecule), space (distances, angles, radius
                of gyration, nearest atoms, handedness) and flat (the same questions without coordinates); a list
                of SMILES gets ETKDG conformers
Molecules whose InChIKey skeleton (its first 14 letters) stands in a file of --exclude are left out of all and
counted. A share of each source is held out by a hash of the skeleton, so a molecule is on one side in all tasks.
Files may be .zst or .gz; a table's columns are found by name (SMILES, description; smiles, homo, lumo, gap).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase
from rich.progress import track

from modalities.molecule.conformers import embed
from modalities.molecule.files import text_of
from modalities.molecule.neighbours import MoleculeIndex, TextIndex
from modalities.molecule.selfies import Selfies
from modalities.molecule.structure import skeleton
from modalities.molecule.tasks import properties, space, structure, text
from modalities.molecule.tasks.record import Record
from unitok.command import command

Row = tuple[str, str, Any]  # key, SMILES, what stands beside it


def table(path: Path, *columns: str) -> Iterator[list[str]]:
    """Rows of a table with a header, tab or comma separated, reduced to these columns.

    Raises:
        ValueError: a column is missing.
    """
    content = text_of(path)
    tabs = "\t" in content.partition("\n")[0]
    quoting = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    rows = csv.DictReader(io.StringIO(content), delimiter="\t" if tabs else ",", quoting=quoting)
    missing = [column for column in columns if column not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{path}: there is no column {missing[0]!r} among {', '.join(rows.fieldnames or ())}"
        )
    for row in rows:
        yield [row[column] or "" for column in columns]


def captions(path: Path) -> Iterator[Row]:
    """MolT5's table; its doubled backslashes are mended."""
    for number, (smiles, said) in enumerate(table(path, "SMILES", "description")):
        yield f"{path.name}/{number}", smiles.replace("\\\\", "\\"), said


def names() -> Iterator[Row]:
    """PyPI chemicals: IUPAC name and synonyms."""
    import chemicals

    source = Path(chemicals.__file__).parent / "Identifiers" / "chemical identifiers pubchem large.tsv"
    for line in source.read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if len(cells) > 7 and cells[7]:
            yield f"cas/{cells[1]}", cells[4], (cells[7], cells[8:])


def structures(path: Path) -> Iterator[Row]:
    """A list of SMILES, or a table with a column smiles."""
    lines = text_of(path).splitlines()
    if lines and "smiles" in lines[0].lower().split(","):
        yield from ((f"{path.name}/{n}", row[0], None) for n, row in enumerate(table(path, "smiles")))
    else:
        yield from (
            (f"{path.name}/{n}", line.split()[0], None) for n, line in enumerate(lines) if line.strip()
        )


def orbitals(path: Path) -> Iterator[Row]:
    """QM9's columns, hartree."""
    for number, (smiles, *values) in enumerate(table(path, "smiles", *properties.GIVEN)):
        yield f"{path.name}/{number}", smiles, dict(zip(properties.GIVEN, map(float, values), strict=True))


def columns(spec: str) -> Iterator[Row]:
    """Cells of FILE:COLUMN or FILE:COLUMN:NAME; a column that holds 0 and 1 alone is a class.

    Raises:
        ValueError: no such form, file or column.
    """
    path, _, rest = spec.partition(":")
    column, _, name = rest.partition(":")
    if not column:
        raise ValueError(f"--table {spec!r} names no column: write FILE:COLUMN or FILE:COLUMN:NAME")
    header = text_of(Path(path)).partition("\n")[0].split(",")
    smiles = next((one for one in header if one.strip().lower() in ("smiles", "mol")), "smiles")
    cells = list(table(Path(path), smiles, column))
    kinds = {value.strip() for _, value in cells} - {""}
    words = {"0": "no", "1": "yes", "0.0": "no", "1.0": "yes"} if kinds <= {"0", "1", "0.0", "1.0"} else {}
    for number, (one, value) in enumerate(cells):
        key = f"{Path(path).name}/{column}/{number}"
        yield key, one, (name or column, words.get(value.strip(), value))


def posed(path: Path) -> Iterator[Row]:
    """Molecules of an SDF file with their coordinates, or of a list of SMILES without."""
    if ".sdf" not in path.suffixes:
        yield from structures(path)
        return
    with rdBase.BlockLogs():
        mols = list(Chem.ForwardSDMolSupplier(io.BytesIO(text_of(path).encode())))
    for number, mol in enumerate(mols):
        yield f"{path.name}/{number}", "" if mol is None else Chem.MolToSmiles(mol), mol


class Makers:
    """Turns rows into records of each task.

    Args:
        known: lower-case names -> SMILES, for the wrapped texts.
        each: questions of each kind about one molecule in space.
        examples: SMILES and description of the training molecules.
        beside: how many examples a question is shown with, one in each record; one alone where it is held out.
        texts: what is said again.
    """

    def __init__(
        self,
        known: dict[str, str],
        each: int,
        examples: list[tuple[str, str]],
        beside: int,
        texts: list[str],
    ) -> None:
        self.known, self.each, self.examples = known, each, examples
        self.beside, self.texts = beside, texts
        smiles, texts = [one for one, _ in examples], [said for _, said in examples]
        self.by_molecule, self.by_text = MoleculeIndex(smiles), TextIndex(texts, smiles)
        self.tokenizer = Selfies()

    def captions(self, key: str, split: str, smiles: str, said: str) -> Iterator[tuple[str, Record | None]]:
        """Caption, molecule and wrapped text."""
        yield "caption", text.caption(key, split, smiles, said)
        yield "molecule", text.molecule(key, split, smiles, said)
        beside = self.beside if split == "train" else 1
        for rank, (at, _) in enumerate(self.by_molecule.several(smiles, beside)):
            example = self.examples[at]
            yield "caption_like", text.caption_like(f"{key}/{rank}", split, smiles, said, example)
        for rank, (at, _) in enumerate(self.by_text.several(said, beside, but=smiles)):
            example = self.examples[at]
            yield "molecule_like", text.molecule_like(f"{key}/{rank}", split, smiles, said, example)
        yield "wrapped", text.wrapped(key, split, said, self.known)
        yield "echo", text.echo(key, split, self.texts)

    def names(
        self, key: str, split: str, smiles: str, named: tuple[str, list[str]]
    ) -> Iterator[tuple[str, Record | None]]:
        """IUPAC name both ways."""
        yield "iupac", text.name_of(key, split, smiles, named[0])
        yield "named", text.named(key, split, smiles, named[0])
        yield "echo", text.echo(key, split, self.texts)

    def structures(self, key: str, split: str, smiles: str, _: None) -> Iterator[tuple[str, Record | None]]:
        """Denoising, and one computed property."""
        yield "denoise", structure.denoise(key, split, smiles, self.tokenizer)
        what = sorted(properties.COMPUTED)[
            int(hashlib.sha256(key.encode()).hexdigest(), 16) % len(properties.COMPUTED)
        ]
        yield "computed", properties.computed(key, split, smiles, what)

    def qm9(
        self, key: str, split: str, smiles: str, values: dict[str, float]
    ) -> Iterator[tuple[str, Record | None]]:
        """Three orbital energies."""
        for what, value in values.items():
            yield "orbitals", properties.given(f"{key}/{what}", split, smiles, what, value)

    def tables(
        self, key: str, split: str, smiles: str, cell: tuple[str, str]
    ) -> Iterator[tuple[str, Record | None]]:
        """One cell."""
        yield "table", properties.measured(key, split, smiles, *cell)

    def space(
        self, key: str, split: str, smiles: str, mol: Chem.Mol | None
    ) -> Iterator[tuple[str, Record | None]]:
        """Coordinates both ways, and questions; without coordinates a conformer is made."""
        mol = embed(Chem.MolFromSmiles(smiles)) if mol is None else mol
        yield "place", structure.place(key, split, mol)
        yield "seen", structure.seen(key, split, mol)
        for kind in space.QUESTIONS:
            for number in range(self.each):
                yield "space", space.ask(f"{key}/{kind}/{number}", split, mol, kind)
                yield "flat", space.ask(f"{key}/{kind}/{number}", split, mol, kind, flat=True)


def side(bones: str, heldout: float) -> str:
    """Which side of the split a skeleton is on."""
    share = int(hashlib.sha256(bones.encode()).hexdigest()[:8], 16) / 2**32
    return "heldout" if share < heldout else "train"


def usable(rows: Iterable[Row], excluded: set[str], heldout: float) -> list[tuple[str, Any]]:
    """SMILES and what stands beside it, of the rows that are trained on."""
    found = [(smiles, said, skeleton(smiles)) for _, smiles, said in rows]
    return [
        (smiles, said)
        for smiles, said, bones in found
        if bones and bones not in excluded and side(bones, heldout) == "train"
    ]


def write(
    rows: Iterable[Row],
    make: Callable[..., Iterator[tuple[str, Record | None]]],
    files: dict[str, Any],
    out: Path,
    excluded: set[str],
    heldout: float,
    count: Counter[str],
) -> None:
    """Records of one source into the files of its tasks; what is left out is counted."""
    with rdBase.BlockLogs():
        for key, smiles, beside in rows:
            try:
                bones = skeleton(smiles)
                if bones is None:
                    raise ValueError(
                        f"{smiles!r} is no molecule" if smiles else "RDKit cannot read the record"
                    )
                if bones in excluded:
                    count["left out: also in --exclude"] += 1
                    continue
                made = list(make(key, side(bones, heldout), smiles, beside))
            except ValueError as error:
                count["left out: no molecule that can be kept"] += 1
                if count["left out: no molecule that can be kept"] <= 3:
                    print(f"{key}: {error}")
                continue
            for task, record in made:
                if record is not None:
                    if task not in files:
                        files[task] = (out / f"{task}.jsonl").open("w", encoding="utf-8")
                    files[task].write(json.dumps(record, ensure_ascii=False) + "\n")
                    count[task] += 1


def main() -> None:
    """Write the tasks and say how many records each has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--captions", type=Path, nargs="*", default=[], help="tables in MolT5's form")
    parser.add_argument(
        "--exclude", type=Path, nargs="*", default=[], help="tables whose molecules are left out"
    )
    parser.add_argument("--names", action="store_true", help="PyPI chemicals, which must be installed")
    parser.add_argument("--structures", type=Path, nargs="*", default=[], help="lists of SMILES")
    parser.add_argument("--qm9", type=Path, nargs="*", default=[], help="tables with smiles, homo, lumo, gap")
    parser.add_argument("--table", nargs="*", default=[], help="FILE:COLUMN or FILE:COLUMN:NAME")
    parser.add_argument(
        "--space", type=Path, nargs="*", default=[], help="SDF files with coordinates, or lists of SMILES"
    )
    parser.add_argument(
        "--each", type=int, default=2, help="questions of each kind about a molecule in space"
    )
    parser.add_argument(
        "--examples", type=int, default=8, help="similar molecules a caption is asked beside, one at a time"
    )
    parser.add_argument("--heldout", type=float, default=0.03, help="share of the molecules that is held out")
    parser.add_argument("--most", type=int, default=10**9, help="at most so many rows of each file")
    args = parser.parse_args()
    if not 0 <= args.heldout < 1:
        raise ValueError(f"--heldout {args.heldout} is out of range: a share from 0 up to, not including, 1")
    args.out.mkdir(parents=True, exist_ok=True)
    excluded = {
        bones
        for path in args.exclude
        for smiles, *_ in table(path, "SMILES")
        if (bones := skeleton(smiles.replace("\\\\", "\\"))) is not None
    }
    named = list(names()) if args.names or args.captions else []
    known = {name.lower(): smiles for _, smiles, (_, others) in named for name in others[:3] if len(name) > 5}
    described = [row for path in args.captions for row in list(captions(path))[: args.most]]
    examples = usable(described, excluded, args.heldout)
    said = [text for _, text in examples]
    said += [name for _, (name, _) in usable(named, excluded, args.heldout)] if args.names else []
    makers = Makers(known, args.each, examples, args.examples, [text for text in said if text.strip()])
    files: dict[str, Any] = {}
    count: Counter[str] = Counter()
    sources: list[tuple[str, Iterable[Row], Any]] = [
        (f"{p.name}", captions(p), makers.captions) for p in args.captions
    ]
    sources += [("chemicals", named, makers.names)] if args.names else []
    sources += [(p.name, structures(p), makers.structures) for p in args.structures]
    sources += [(p.name, orbitals(p), makers.qm9) for p in args.qm9]
    sources += [(spec, columns(spec), makers.tables) for spec in args.table]
    sources += [(p.name, posed(p), makers.space) for p in args.space]
    try:
        for name, rows, make in sources:
            few = list(rows)[: args.most]
            write(track(few, name), make, files, args.out, excluded, args.heldout, count)
    finally:
        for file in files.values():
            file.close()
    for what, number in sorted(count.items()):
        print(f"{number:9,} {what}")


if __name__ == "__main__":
    command(main)
