r"""Files of predictions and of pairs: the tab-separated ones of MolT5 (arXiv:2204.11817), and JSON lines.

A predictions file has a header that names the columns `SMILES` or `description` (what the model was given),
`ground truth` and `output`; a file of pairs has `SMILES` and `description`, or is .jsonl with {"smiles", "text"}.
Quotes mean nothing. MolT5's ChEBI-20 files write each backslash of a SMILES twice (484 of 3,300 test rows);
a double bond has one, so `\\` is read as `\`. SMILES may be CXSMILES with coordinates (see `told`). A leading
"[CLS] " of an output is an artefact of decoding. Rows that cannot be read are named, and the rest goes on. A name that
ends in .zst is unpacked on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rdkit import Chem

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
    for line, row in _table(path, (given, REFERENCE, OUTPUT), out.bad):
        asked, reference, output = row
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


def read_pairs(path: Path) -> Pairs:
    """Molecules and descriptions of a .jsonl file ({"smiles", "text"}) or a tab-separated one.

    Raises:
        ValueError: a column is missing, or no row can be read.
    """
    out = Pairs()
    lines = path.name.removesuffix(".zst").endswith(".jsonl")
    for line, (smiles, text) in _objects(path, out.bad) if lines else _pairs(path, out.bad):
        if not smiles.strip() or not text.strip():
            out.bad.append(f"line {line}: the molecule or its description is empty")
            continue
        out.smiles.append(mended(smiles))
        out.texts.append(text)
    _some(path, out.smiles, out.bad)
    return out


def mended(smiles: str) -> str:
    r"""A SMILES with `\` where the file has `\\`."""
    return smiles.replace("\\\\", "\\")


def bare(text: str) -> str:
    """The SMILES of a CXSMILES string: without the coordinates that may stand behind it."""
    return text.split(" |")[0]


def structure_of(text: str) -> Chem.Mol | None:
    """The molecule of a SMILES or CXSMILES with the stereo of its SMILES, in space if it says so; None if it is none."""
    try:
        return as_written(text)
    except ValueError:
        return None


def _pairs(path: Path, bad: list[str]) -> Iterator[tuple[int, Sequence[str]]]:
    return _table(path, (SMILES, DESCRIPTION), bad)


def _table(path: Path, wanted: Sequence[str], bad: list[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Line number and the wanted columns of each whole row."""
    lines = _lines(path)
    header = lines[0].decode("utf-8", "replace").removeprefix("\ufeff").split("\t")
    missing = [name for name in wanted if name not in header]
    if missing:
        raise ValueError(
            f"{path.name} has the columns {header} and none called {missing[0]!r}: give a tab-separated file "
            f"whose first line names {', '.join(wanted)}"
        )
    places = [header.index(name) for name in wanted]
    for number, raw in enumerate(lines[1:], start=2):
        if not raw.strip():
            continue
        text = _decoded(raw, number, bad)
        if text is None:
            continue
        row = text.split("\t")
        if len(row) != len(header):
            bad.append(f"line {number}: {len(row)} columns where the header names {len(header)}")
            continue
        yield number, [row[place] for place in places]


def _objects(path: Path, bad: list[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Line number and (SMILES, text) of each JSON line."""
    for number, raw in enumerate(_lines(path), start=1):
        text = _decoded(raw, number, bad) if raw.strip() else None
        if text is None:
            continue
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            bad.append(f"line {number}: not JSON ({error})")
            continue
        found = (data.get("smiles"), data.get("text")) if isinstance(data, dict) else (None, None)
        if not isinstance(found[0], str) or not isinstance(found[1], str):
            bad.append(f'line {number}: not an object of two strings "smiles" and "text"')
            continue
        yield number, (found[0], found[1])


def _decoded(raw: bytes, number: int, bad: list[str]) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        bad.append(f"line {number}: byte {error.start + 1} is not UTF-8")
        return None


def _lines(path: Path) -> list[bytes]:
    """The lines of a file without their ends.

    Raises:
        ValueError: the file is empty or its compression is damaged.
        ImportError: a .zst without the package zstandard.
    """
    data = path.read_bytes()
    if path.suffix == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise ImportError(f"{path} is packed with zstd: pip install zstandard to read it") from error
        try:
            with zstandard.ZstdDecompressor().stream_reader(data) as stream:
                data = stream.read()
        except zstandard.ZstdError as error:
            raise ValueError(f"{path.name} is a damaged zstd file ({error}): copy it again") from error
    if not data.strip():
        raise ValueError(f"{path.name} is empty: it needs a first line that names the columns, and rows")
    return [line.removesuffix(b"\r") for line in data.split(b"\n")]


def _some(path: Path, rows: Sequence[str], bad: Sequence[str]) -> None:
    if not rows:
        why = f" ({len(bad)} are bad, the first at {bad[0]})" if bad else ""
        raise ValueError(f"{path.name} has no row that can be read{why}: give at least one")
