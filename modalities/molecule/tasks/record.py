"""Records of a task: what the user says and what the answer is, in parts.

chat("esol/7", "train", "name", ["Name ", Molecule("CCO"), "."], ["ethanol"])
-> {"key": ..., "split": ..., "kind": "name", "turns": [{"role": "user", "content": [{"text": "Name "}, {"molecule": "CCO"}, ...
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]


class Molecule(str):
    """A SMILES, SELFIES or CXSMILES string that goes to the molecule block."""

    __slots__ = ()


Part = str | Molecule


def chat(key: str, split: str, kind: str, user: Sequence[Part], answer: Sequence[Part]) -> Record:
    """One question and its answer; figures are given for each kind of question."""
    turns = [{"role": role, "content": parts(said)} for role, said in (("user", user), ("assistant", answer))]
    return {"key": key, "split": split, "kind": kind, "turns": turns}


def plain(key: str, split: str, said: Sequence[Part]) -> Record:
    """A document without roles, with loss on all of it."""
    return {"key": key, "split": split, "document": parts(said)}


def parts(said: Sequence[Part]) -> list[dict[str, str]]:
    """Strings as parts; empty ones are left out."""
    return [{block: value} for block, value in blocks(said) if value]


def blocks(said: Sequence[Part], text: str = "text") -> list[tuple[str, str]]:
    """Strings as (block, value); `text` is the name of the block that texts go to."""
    return [("molecule" if isinstance(one, Molecule) else text, str(one)) for one in said]


def dice(key: str) -> random.Random:
    """Random numbers that depend on the key alone, on every machine."""
    return random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))


def filled(template: str, **values: Part) -> list[Part]:
    """A template's text with molecules in place of `{names}`."""
    out: list[Part] = []
    for piece in template.split("{"):
        name, closing, rest = piece.partition("}")
        if closing:
            out.append(values[name])
            out.append(rest)
        else:
            out.append(piece)
    return [one for one in out if one]
