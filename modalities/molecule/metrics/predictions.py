r"""Files of predictions and of pairs: tables such as those of MolT5 (arXiv:2204.11817), and JSON lines.

A predictions file has a header that names the columns `SMILES` or `description` (what the model was given),
`ground truth` and `output`; a file of pairs has `SMILES` and `description`, or is .jsonl with {"smiles", "text"}.
MolT5's ChEBI-20 files write each backslash of a SMILES twice (484 of 3,300 test rows);
a double bond has one, so `\\` is read as `\`. SMILES may be CXSMILES with coordinates (see `told`). A leading
"[CLS] " of an output is an artefact of decoding. How tables are read is told in `tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rdkit import Chem

from ..tables import Row, cells, fields, mended
from ..told import as_written

REFERENCE, OUTPUT = "ground truth", "output"
SMILES, DESCRIPTION = "SMILES", "description"
ARTEFACT = "[CLS] "


@dataclass(frozen=True)
class Predictions:
    """Rows of a predictions file, equally many of each list; `bad` has a sentence for each row left out."""

    given: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pairs:
    """Molecules with their descriptions; `bad` has a sentence for each row left out."""

    smiles: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def read_predictions(path: Path, given: str) -> Predictions:
    """Rows of MolT5's predictions format.

    Args:
        given: column of what the model was given: "SMILES" (it wrote descriptions) or "description" (it
            wrote SMILES).

    Raises:
        ValueError: a column is missing, or no row can be read.
    """
    out = Predictions()
    for line, (asked, reference, output), _ in _good(cells(path, given, REFERENCE, OUTPUT), out.bad):
        output = output.removeprefix(ARTEFACT)
        if not reference.strip():
            out.bad.append(
                f"line {line}: the column {REFERENCE!r} is empty, so there is nothing to compare with"
            )
            continue
        smiles = given == SMILES
        out.given.append(mended(asked) if smiles else asked)
        out.references.append(reference if smiles else mended(reference))
        out.outputs.append(output if smiles else mended(output))
    _some(path, out.references, out.bad)
    return out


def write_predictions(path: Path, given: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """A file that `read_predictions` reads, from (given, reference, output) row by row.

    Tabs and line ends, which would begin another cell or row, become spaces.
    """
    lines = ["\t".join((given, REFERENCE, OUTPUT))]
    lines += ["\t".join(" ".join(cell.split()) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_pairs(path: Path) -> Pairs:
    """Molecules and descriptions of a .jsonl file ({"smiles", "text"}) or of a table.

    Raises:
        ValueError: a column is missing, or no row can be read.
    """
    out = Pairs()
    rows = fields(path, "smiles", "text") if ".jsonl" in path.suffixes else cells(path, SMILES, DESCRIPTION)
    for line, (smiles, text), _ in _good(rows, out.bad):
        if not smiles.strip() or not text.strip():
            out.bad.append(f"line {line}: the molecule or its description is empty")
            continue
        out.smiles.append(mended(smiles))
        out.texts.append(text)
    _some(path, out.smiles, out.bad)
    return out


def bare(text: str) -> str:
    """The SMILES of a CXSMILES string: without the coordinates that may stand behind it."""
    return text.split(" |")[0]


def structure_of(text: str) -> Chem.Mol | None:
    """The molecule of a SMILES or CXSMILES with the stereo of its SMILES, in space if it says so; None if it is none."""
    try:
        return as_written(text)
    except ValueError:
        return None


def _good(rows: Iterable[Row], bad: list[str]) -> Iterator[Row]:
    """The rows that can be read; sentences of the others go to `bad`."""
    for row in rows:
        if row.reason:
            bad.append(f"line {row.line}: {row.reason}")
        else:
            yield row


def _some(path: Path, rows: Sequence[str], bad: Sequence[str]) -> None:
    if not rows:
        why = f" ({len(bad)} are bad, the first at {bad[0]})" if bad else ""
        raise ValueError(f"{path.name} has no row that can be read{why}: give at least one")
