"""What all kinds of demo data share: the split, a keyed choice, and writing records."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def digest(key: str) -> int:
    """sha256 of a key as a number."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16)


def split(leak: str) -> str:
    """ "heldout" for one key in ten, else "train"; `leak` names what must not be on both sides."""
    return "heldout" if digest(leak) % 10 == 0 else "train"


def chance(key: str) -> random.Random:
    """Random numbers that depend on the key alone."""
    return random.Random(digest(key))


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write records as JSON lines, gzipped if the name says so; the same bytes every time. Their number."""
    lines = [json.dumps(record, ensure_ascii=False, separators=(", ", ": ")) for record in records]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)
    return len(lines)


def sentence(text: str) -> str:
    """With a capital first letter (not "2-propanol" or "n-butane", where it would mean more); a full stop."""
    first = re.split("[ ,:;']", text, maxsplit=1)[0]
    words = first.split("-")
    if all(word.isalpha() for word in words) and (len(words) == 1 or len(words[0]) > 1):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


def article(noun: str) -> str:
    """ "a chair", "an oven", and plurals as they are ("scissors")."""
    last = noun.split()[-1].lower()
    if last.endswith("s") and not last.endswith(("ss", "us", "is", "bus", "lens")):
        return noun
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def join(words: list[str]) -> str:
    """ "one", "one and two", "one, two and three"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
