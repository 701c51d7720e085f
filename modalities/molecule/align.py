"""Which symbol of a SELFIES string makes which atom, found in one pass without building the molecule.

    creates(symbols, rule) -> list of int, one a symbol: the number of its atom, or -1
    rings(symbols, rule) -> how many rings are closed

A symbol makes no atom where it opens a branch or ring, counts the length of one, or stands where no bond is
left: then the derivation of its branch has ended (Krenn et al. 2020, arXiv 1905.13741, tables of the
derivation rules; selfies 2 adds the bond table and the rule that a branch or ring without a bond left is
passed over). Atoms are numbered in the order in which they come, which is RDKit's order for the SMILES that
`selfies.decoder` writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .symbols import DOT

DIGITS = (
    "[C]", "[Ring1]", "[Ring2]", "[Branch1]", "[=Branch1]", "[#Branch1]", "[Branch2]", "[=Branch2]",
    "[#Branch2]", "[O]", "[N]", "[=N]", "[=C]", "[#C]", "[S]", "[P]",
)  # fmt: skip
"""What a symbol counts as, 0 to 15, where a length is due."""
COUNTS = {symbol: number for number, symbol in enumerate(DIGITS)}
ORDERS = {"=": 2, "#": 3}

_PARTS = re.compile(r"\[([=#/\\-]{0,2})(?:(Branch|Ring)([1-3])|\d*([A-Z][a-z]?)@{0,2}(?:H(\d))?([+-]\d)?)\]")


class Rule(NamedTuple):
    """A symbol taken apart: the bonds it asks for, "Branch", "Ring" or "", and how many it has.

    `size` is the number of digits that follow a branch or ring, and of an atom the most bonds.
    """

    order: int
    what: str
    size: int


def rules(symbols: Sequence[str], table: Mapping[str, int]) -> dict[str, Rule]:
    """The rule of each symbol of an alphabet under a bond table; the dot has none.

    Raises:
        ValueError: something that is no SELFIES symbol.
    """
    found = {}
    for symbol in symbols:
        if symbol == DOT:
            continue
        parts = _PARTS.fullmatch(symbol)
        if parts is None:
            raise ValueError(f"{symbol!r} is no SELFIES symbol: write atoms as [=N+1], [C@@H1]")
        bond, what, digits, element, hydrogens, charge = parts.groups()
        order = max((ORDERS.get(sign, 1) for sign in bond), default=1)
        if what:
            found[symbol] = Rule(order, what, int(digits))
        else:
            most = table.get(element + (charge or ""), table["?"]) - int(hydrogens or 0)
            found[symbol] = Rule(order, "", most)
    return found


class _Reader:
    """One string being read: where it stands, and what has come of it."""

    def __init__(self, symbols: Sequence[str], rule: Mapping[str, Rule]) -> None:
        self.symbols, self.rule = symbols, rule
        self.at = 0
        self.atoms = 0
        self.rings = 0
        self.made = [-1] * len(symbols)

    def number(self, digits: int, end: int) -> int:
        """A length written in the next symbols; those that are missing or no digits count 0."""
        value = 0
        for _ in range(digits):
            symbol = self.symbols[self.at] if self.at < end else ""
            self.at += self.at < end
            value = 16 * value + COUNTS.get(symbol, 0)
        return value

    def read(self, end: int, bonds: int | None, whole: int) -> None:
        """Derive up to symbol `end`; `bonds` are left at the atom before, None if there is none.

        Args:
            end: where this branch must stop.
            bonds: what is left at the atom that the branch hangs on; None at the start of a fragment.
            whole: where the fragment stops.
        """
        while self.at < end and bonds != 0:
            symbol = self.symbols[self.at]
            here, (order, what, count) = self.at, self.rule[symbol]
            self.at += 1
            if not what:
                used = 0 if bonds is None else min(order, bonds, count)
                if bonds is None or used:
                    self.made[here] = self.atoms
                    self.atoms += 1
                bonds = max(count - used, 0)
            elif what == "Branch":
                if bonds is not None and bonds > 1:
                    given = min(bonds - 1, order)
                    length = self.number(count, whole) + 1
                    self.read(min(self.at + length, whole), given, whole)
                    bonds -= given
            elif bonds is not None:
                self.number(count, whole)
                self.rings += 1
                bonds -= min(order, bonds)
        self.at = max(self.at, end)


def creates(symbols: Sequence[str], rule: Mapping[str, Rule]) -> list[int]:
    """The number of the atom that each symbol makes, -1 for none.

    Args:
        symbols: of one SELFIES string, dots included.
        rule: what `rules` gives for their alphabet.
    """
    return _read(symbols, rule).made


def rings(symbols: Sequence[str], rule: Mapping[str, Rule]) -> int:
    """How many rings the string closes, at the most (two atoms may be named twice)."""
    return _read(symbols, rule).rings


def _read(symbols: Sequence[str], rule: Mapping[str, Rule]) -> _Reader:
    reader = _Reader(symbols, rule)
    start = 0
    for at in [*(k for k, symbol in enumerate(symbols) if symbol == DOT), len(symbols)]:
        reader.at = start
        reader.read(at, None, at)
        start = at + 1
    return reader
