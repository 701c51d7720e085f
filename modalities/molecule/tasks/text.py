"""Molecules and sentences: captions, molecules from captions, names, and texts with molecules in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .record import Molecule, Part, Record, chat, dice, filled, plain

DESCRIBE = ("{molecule} Describe this molecule.", "What is {molecule}?", "Write a caption for {molecule}.")
GIVE = ("Give the molecule: {text}", "{text} Write its structure.", "Which molecule is this? {text}")
NAME = ("{molecule} Give its IUPAC name.", "How is {molecule} called, by IUPAC's rules?")
DRAW = ("Draw {name}.", "Give the molecule named {name}.")


def caption(key: str, split: str, smiles: str, text: str) -> Record:
    """Molecule -> text."""
    return chat(key, split, "caption", filled(dice(key).choice(DESCRIBE), molecule=Molecule(smiles)), [text])


def molecule(key: str, split: str, smiles: str, text: str) -> Record:
    """Text -> molecule."""
    return chat(key, split, "molecule", filled(dice(key).choice(GIVE), text=text), [Molecule(smiles)])


def name_of(key: str, split: str, smiles: str, name: str) -> Record:
    """Molecule -> IUPAC name."""
    return chat(key, split, "iupac", filled(dice(key).choice(NAME), molecule=Molecule(smiles)), [name])


def named(key: str, split: str, smiles: str, name: str) -> Record:
    """IUPAC name -> molecule."""
    return chat(key, split, "named", filled(dice(key).choice(DRAW), name=name), [Molecule(smiles)])


def wrapped(key: str, split: str, text: str, known: Mapping[str, str]) -> Record | None:
    """A text in which the names of known compounds are followed or replaced by their molecules.

    Args:
        known: lower-case name -> SMILES.

    Returns:
        None where the text names none.
    """
    out: list[Part] = []
    at = 0
    for first, last, smiles in mentions(text, known):
        keep = dice(f"{key} {first}").random() < 0.5
        out += [text[at : last if keep else first] + (" " if keep else ""), Molecule(smiles)]
        at = last
    return plain(key, split, [*out, text[at:]]) if out else None


def mentions(text: str, known: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    """Where known names stand as whole words, the longest first: (start, end, SMILES)."""
    words = [(m.start(), m.end()) for m in re.finditer(r"[A-Za-z0-9][A-Za-z0-9,'()\[\]-]*", text)]
    at = 0
    while at < len(words):
        for count in (3, 2, 1):
            if at + count > len(words):
                continue
            first, last = words[at][0], words[at + count - 1][1]
            name = text[first:last].lower().rstrip(",")
            if name in known:
                yield first, first + len(name), known[name]
                at += count - 1
                break
        at += 1
