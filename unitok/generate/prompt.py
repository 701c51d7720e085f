"""A prompt written as one string, with items by reference.

    "What is this? {image:photo.png}"       a file, read by the block's modality
    "Describe {molecule:CCO}."              anything else is the item itself, as text

The rest is text. What the text says never becomes a mark or a code.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from unitok.document import Document, Segment
from unitok.document import segment as encoded
from unitok.modality import BadItem, Modality

ANSWER = "answer"
"""Key of a budget by block for the answer as a whole."""
REFERENCE = re.compile(r"\{(\w+):([^{}]*)\}")


def budget(words: Sequence[str]) -> dict[str, int]:
    """A budget by block, of words such as "300" (the answer) and "image=64" (each picture).

    Raises:
        ValueError: a word that is neither, or two for the same.
    """
    found = {}
    for word in words:
        name, _, number = word.rpartition("=")
        if not number.isdecimal():
            raise ValueError(f"a budget is written 300 or image=64, not {word!r}")
        name = name or ANSWER
        if name in found:
            raise ValueError(f"{word!r} gives {name} a second budget: give each one")
        found[name] = int(number)
    return found


def segments(
    prompt: str, modalities: Mapping[str, Modality], budget: Mapping[str, int] | None = None
) -> list[Segment]:
    """The segments of a prompt, in order; items of blocks with a budget have at most so many codes.

    Raises:
        ValueError: a reference to no block, a file that cannot be read, or an item that cannot be encoded.
    """
    budget = budget or {}
    text = next((name for name, modality in modalities.items() if not modality.spec.framed), None)
    out: list[Segment] = []
    for i, part in enumerate(REFERENCE.split(prompt)):
        if i % 3 == 0 and part:
            if text is None:
                raise ValueError(
                    f"the prompt says {part!r}, but the vocabulary has no text: give references alone"
                )
            out.append(encoded(modalities[text], part))
        elif i % 3 == 1:
            name = part
        elif i % 3 == 2:
            found = _refer(name, part, modalities)
            if name in budget:
                found = replace(found, codes=modalities[name].shorten(found.codes, budget[name]))
            out.append(found)
    return out


def chat(
    prompt: str,
    modalities: Mapping[str, Modality],
    system: str = "",
    budget: Mapping[str, int] | None = None,
) -> Document:
    """A question to the model as a document; `Sampler` goes on where the answer begins."""
    before = [("system", segments(system, modalities, budget))] if system else []
    return Document.chat([*before, ("user", segments(prompt, modalities, budget))])


def _refer(name: str, value: str, modalities: Mapping[str, Modality]) -> Segment:
    if name not in modalities:
        near = difflib.get_close_matches(name, modalities, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(modalities)}"
        raise ValueError(f"the prompt refers to {{{name}:{value}}}, but no block is called {name!r}: {hint}")
    modality = modalities[name]
    try:
        item = modality.load(value) if Path(value).suffix.lower() in modality.suffixes else value
        return encoded(modality, item)
    except BadItem as error:
        raise ValueError(f"{{{name}:{value}}} cannot be encoded: {error.reason}") from error
    except OSError as error:
        raise ValueError(f"{{{name}:{value}}} cannot be read: {error.strerror or error}") from error
