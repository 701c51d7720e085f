"""The SELFIES alphabet and the valence rules that give its symbols their meaning.

The alphabet is a text file, one symbol a line, in the order of the ids: atoms (`[C]`, `[=N+1]`, `[\\C@@H1]`),
then branches and rings, then the dot between fragments. Two alphabets with other orders are other codes, so
the list is part of the fingerprint, and so are the valences: SELFIES 2 decodes by a process-wide table of
"how many bonds may this atom have" (Krenn et al. 2020; Lo et al. 2023). `bound` sets it for a block of code
only. Where RDKit allows an atom fewer bonds than the SELFIES preset, RDKit's number holds: then every
string of symbols that starts with an atom is a molecule that RDKit accepts.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import selfies
from rdkit import Chem, rdBase

ALPHABET = Path(__file__).with_name("alphabet.txt")
WIDE = Path(__file__).with_name("alphabet_wide.txt")
DOT = "."
PRESETS = ("default", "octet_rule", "hypervalent")

_ATOM = re.compile(r"\[([=#/\\]?)(\d*)([A-Z][a-z]?)(@{0,2})((?:H\d)?)((?:[+-][1-9])?)\]")
_BOND = re.compile(r"\[[=#/\\-]{0,2}(Branch|Ring)[1-3]\]")
_SYMBOL = re.compile(r"\[[^\[\]]*\]|\.")
_lock = threading.RLock()  # the table of SELFIES belongs to the process


class Smiles(str):
    """A string that is SMILES whatever it looks like: "[C]" is a carbon atom, in SELFIES it is methane."""

    __slots__ = ()


class SelfiesText(str):
    """A string that is SELFIES."""

    __slots__ = ()


def split(text: str) -> list[str] | None:
    """The symbols of a SELFIES string, or None if `text` is not written in SELFIES symbols.

    A string of bracket atoms alone may be both ("[C][O]"); it counts as SELFIES unless it is a `Smiles`.
    """
    if isinstance(text, Smiles):
        return None
    symbols = _SYMBOL.findall(text)
    if not text or "".join(symbols) != text:
        return None
    return symbols if all(map(_written, symbols)) else None


def foreign(text: str) -> str | None:
    """The first bracket that is no SELFIES symbol, in a string of brackets alone; else None."""
    symbols = _SYMBOL.findall(text)
    return next((s for s in symbols if not _written(s)), None) if "".join(symbols) == text else None


def _written(symbol: str) -> bool:
    return symbol == DOT or bool(_ATOM.fullmatch(symbol) or _BOND.fullmatch(symbol))


def is_atom(symbol: str) -> bool:
    """True for a symbol that adds an atom."""
    return _ATOM.fullmatch(symbol) is not None


def read_alphabet(path: Path) -> tuple[str, ...]:
    """The symbols of an alphabet file in the order of the ids; lines with # are comments.

    Raises:
        ValueError: not UTF-8, a symbol that SELFIES 2 does not know, twice the same, or no atom.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8: give a text file of symbols") from error
    symbols = [line for line in lines if line and not line.startswith("#")]
    if len(set(symbols)) < len(symbols):
        raise ValueError(f"{path}: a symbol stands twice: each line of an alphabet is another symbol")
    for symbol in symbols:
        if split(symbol) != [symbol]:
            raise ValueError(f"{path}: {symbol!r} is no SELFIES symbol: write atoms as [=N+1], [C@@H1]")
    ordered = order(symbols)
    if symbols != ordered or not symbols or not is_atom(symbols[0]):
        raise ValueError(f"{path}: need at least one atom, and atoms, then branches and rings, then the dot")
    return tuple(symbols)


def order(symbols: Sequence[str]) -> list[str]:
    """Atoms first, then branches and rings, then the dot; each group sorted."""
    return sorted(symbols, key=lambda s: (s == DOT, not is_atom(s), s))


@functools.cache
def _permitted(element: str, charge: int) -> int:
    """The most single bonds (0-8) that RDKit permits at an atom, hydrogens counted too."""
    sign = f"{charge:+d}" if charge else ""
    with rdBase.BlockLogs():
        for bonds in range(1, 9):
            forms = (f"[{element}{sign}]" + "(C)" * bonds, f"[{element}H{bonds}{sign}]")
            if any(Chem.MolFromSmiles(form) is None for form in forms):
                return bonds - 1
    return 8


def valences(alphabet: Sequence[str], preset: str) -> dict[str, int]:
    """The bond table {"N+1": 4, ..., "?": 8}: a SELFIES preset, never above what RDKit permits.

    Raises:
        ValueError: no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"constraints {preset!r} are not known: use one of {', '.join(PRESETS)}")
    table: dict[str, int] = selfies.get_preset_constraints(preset)
    for symbol in alphabet:
        found = _ATOM.fullmatch(symbol)
        if found is not None:
            element, sign = found[3], found[6]
            key = element + sign
            table[key] = min(table.get(key, table["?"]), _permitted(element, int(sign or 0)))
    return dict(sorted(table.items()))


@contextmanager
def bound(table: Mapping[str, int]) -> Iterator[Any]:
    """The `selfies` package with this bond table, given back as it was found; one thread at a time."""
    with _lock:
        before = selfies.get_semantic_constraints()
        if before == table:
            yield selfies
            return
        selfies.set_semantic_constraints(dict(table))
        try:
            yield selfies
        finally:
            selfies.set_semantic_constraints(before)
