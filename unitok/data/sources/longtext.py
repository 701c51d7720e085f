"""Long text: a book becomes records of some paragraphs each, field "text"; put together they are the book again.

`pieces` cuts a text at its best borders (paragraphs, sentences, words) into stretches of bounded size, so that
`tokenize` can fill documents with whole ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unitok.data.sources.jsonl import lines
from unitok.data.sources.record import BadRecord, Record

CHARACTERS = 1 << 16  # of a record, about: it ends with the paragraph
PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")
SENTENCE = re.compile(r"[.!?][\"'”’)\]]*\s+")
WORD = re.compile(r"\s+")


def read_text(path: Path) -> Iterator[Record | BadRecord]:
    """Records of a .txt or .txt.gz file of UTF-8 text."""
    stem = path.name.partition(".")[0]
    kept: list[str] = []
    first = 1
    size = 0
    for number, line in enumerate(lines(path), start=1):
        if isinstance(line, BadRecord):
            yield line
            break
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            yield BadRecord(f"{path.name}:{number}", f"the line is not UTF-8 and is left out ({error})")
            continue
        if size >= CHARACTERS and not kept[-1].strip() and text.strip():
            yield Record(f"{stem}:{first}", {"text": "".join(kept)}, f"{path.name}:{first}", path.parent)
            kept, first, size = [], number, 0
        kept.append(text)
        size += len(text)
    if "".join(kept).strip():
        yield Record(f"{stem}:{first}", {"text": "".join(kept)}, f"{path.name}:{first}", path.parent)


def pieces(text: str, longest: int) -> list[str]:
    """Consecutive stretches of `text` of at most `longest` characters that end at the best border they can.

    `"".join(pieces(text, n)) == text` for every n >= 1.
    """
    out = [text]
    for border in (PARAGRAPH, SENTENCE, WORD):
        out = [part for piece in out for part in (_cut(piece, border) if len(piece) > longest else [piece])]
    return [piece[at : at + longest] for piece in out for at in range(0, len(piece), longest)]


def _cut(text: str, border: re.Pattern[str]) -> list[str]:
    """`text` cut behind every border."""
    ends = [match.end() for match in border.finditer(text)]
    cuts = [0, *(end for end in ends if end < len(text)), len(text)]
    return [text[a:b] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
