"""Molecules and sentences: captions, molecules from captions, names, and texts with molecules in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

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


Example = tuple[str, str]
"""SMILES and description of another molecule."""


def caption_like(key: str, split: str, smiles: str, text: str, example: Example) -> Record:
    """Molecule -> text, beside a described molecule that is like it."""
    return chat(key, split, "caption", asked_text(smiles, example), [text])


def molecule_like(key: str, split: str, smiles: str, text: str, example: Example) -> Record:
    """Text -> molecule, beside a molecule whose description is like it."""
    return chat(key, split, "molecule", asked_molecule(text, example), [Molecule(smiles)])


def asked_text(smiles: str, example: Example | None = None) -> list[Part]:
    """The question for a description, plain or beside an example."""
    if example is None:
        return filled(DESCRIBE[0], molecule=Molecule(smiles))
    return [Molecule(example[0]), " " + example[1] + " ", *filled(DESCRIBE[0], molecule=Molecule(smiles))]


def asked_molecule(text: str, example: Example | None = None) -> list[Part]:
    """The question for a molecule, plain or beside an example."""
    if example is None:
        return filled(GIVE[0], text=text)
    return [example[1] + " ", Molecule(example[0]), " ", *filled(GIVE[0], text=text)]


def echo(key: str, split: str, texts: Sequence[str]) -> Record:
    """Spans of 3 to 20 words of some of the texts, to be said again.

    Answers beside an example lean on copying from it, which a small model hardly learns from the examples alone:
    it learns it here, where nothing else helps.
    """
    draw = dice(f"{key} echo")
    spans = []
    for _ in range(draw.randint(2, 6)):
        said = draw.choice(texts).split()
        first = draw.randrange(len(said))
        spans.append(" ".join(said[first : first + draw.randint(3, 20)]))
    return chat(key, split, "echo", [" ".join(spans) + " Repeat."], [" ".join(spans)])


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
