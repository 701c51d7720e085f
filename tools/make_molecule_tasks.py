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
counted, and so are rows that cannot be used, which OUT/left_out.tsv lists with their reasons. A share of each source
is held out by a hash of the skeleton, so a molecule is on one side in all tasks.
Files may be .zst or .gz; a table's columns are found by name (SMILES, description; smiles, homo, lumo, gap).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase
from rich.progress import track

from modalities.molecule.conformers import embed
from modalities.molecule.neighbours import MoleculeIndex, TextIndex
from modalities.molecule.selfies import Selfies
from modalities.molecule.structure import from_smiles, skeleton
from modalities.molecule.tasks import properties, space, structure, text
from modalities.molecule.tasks.record import Record
from modalities.molecule.tasks.sources import Row, captions, columns, names, orbitals, posed, structures
from unitok.command import command


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
    found = [(row.smiles, row.beside, skeleton(row.smiles)) for row in rows if not row.reason]
    return [
        (smiles, said)
        for smiles, said, bones in found
        if bones and bones not in excluded and side(bones, heldout) == "train"
    ]


class Writer:
    """Records of sources in the files of their tasks; what is left out is counted, and told in left_out.tsv."""

    def __init__(self, out: Path, excluded: set[str], heldout: float) -> None:
        self.out, self.excluded, self.heldout = out, excluded, heldout
        self.count: Counter[str] = Counter()
        self.files: dict[str, Any] = {}
        self.left_out: list[tuple[str, str]] = []

    def __call__(self, rows: Iterable[Row], make: Callable[..., Iterator[tuple[str, Record | None]]]) -> None:
        """One source."""
        with rdBase.BlockLogs():
            for row in rows:
                try:
                    bones = bones_of(row)
                    if bones in self.excluded:
                        self.count["left out: also in --exclude"] += 1
                        continue
                    made = list(make(row.key, side(bones, self.heldout), row.smiles, row.beside))
                except ValueError as error:
                    self.leave_out(row.key, str(error))
                    continue
                for task, record in made:
                    if record is not None:
                        if task not in self.files:
                            self.files[task] = (self.out / f"{task}.jsonl").open("w", encoding="utf-8")
                        self.files[task].write(json.dumps(record, ensure_ascii=False) + "\n")
                        self.count[task] += 1

    def leave_out(self, key: str, reason: str) -> None:
        """Count a row that cannot be used."""
        self.count["left out: rows that cannot be used, see left_out.tsv"] += 1
        self.left_out.append((key, " ".join(reason.split())))

    def close(self) -> None:
        """Close all files, and write what was left out."""
        for file in self.files.values():
            file.close()
        said = "".join(f"{key}\t{reason}\n" for key, reason in [("key", "reason"), *self.left_out])
        (self.out / "left_out.tsv").write_text(said, encoding="utf-8")


def bones_of(row: Row) -> str:
    """The skeleton of a row's molecule.

    Raises:
        ValueError: it has none; the reason.
    """
    if row.reason:
        raise ValueError(row.reason)
    bones = skeleton(row.smiles)
    if bones is None:
        from_smiles(row.smiles)  # says what is wrong
        raise ValueError(f"{row.smiles[:60]!r} has no InChI, which tells the sets apart: leave it out")
    return bones


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
    for name, least in (("each", 0), ("examples", 0), ("most", 1)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} {getattr(args, name)} is out of range: {least} and up")
    args.out.mkdir(parents=True, exist_ok=True)
    write = Writer(args.out, set(), args.heldout)
    for path in args.exclude:
        for row in structures(path):
            try:
                write.excluded.add(bones_of(row))
            except ValueError as error:
                write.leave_out(row.key, f"not excluded: {error}")
    excluded = write.excluded
    named = list(names()) if args.names or args.captions else []
    known = {name.lower(): row.smiles for row in named for name in row.beside[1][:3] if len(name) > 5}
    described = [row for path in args.captions for row in list(captions(path))[: args.most]]
    examples = usable(described, excluded, args.heldout)
    said = [text for _, text in examples]
    said += [name for _, (name, _) in usable(named, excluded, args.heldout)] if args.names else []
    makers = Makers(known, args.each, examples, args.examples, [text for text in said if text.strip()])
    sources: list[tuple[str, Iterable[Row], Any]] = [
        (f"{p.name}", captions(p), makers.captions) for p in args.captions
    ]
    sources += [("chemicals", named, makers.names)] if args.names else []
    sources += [(p.name, structures(p), makers.structures) for p in args.structures]
    sources += [(p.name, orbitals(p), makers.qm9) for p in args.qm9]
    sources += [(spec, columns(spec), makers.tables) for spec in args.table]
    sources += [(p.name, posed(p), makers.space) for p in args.space]
    if not sources:
        raise ValueError(
            "there is nothing to make tasks from: give --captions, --names, --structures or another"
        )
    try:
        for name, rows, make in sources:
            few = list(rows)[: args.most]
            write(track(few, name), make)
    finally:
        write.close()
    for what, number in sorted(write.count.items()):
        print(f"{number:9,} {what}")


if __name__ == "__main__":
    command(main)
