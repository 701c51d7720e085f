"""Commands of a conversation in a terminal, and the files that its items go to."""

from __future__ import annotations

from pathlib import Path
from unicodedata import category

from unitok.generate.conversation import Conversation
from unitok.generate.prompt import budget
from unitok.modality import Item, Modality

HELP = """\
Write a question; {block:file or item} puts an item into it: What is this? {image:photo.png}
/force BLOCK       the answers begin with BLOCK; alone: the model chooses again
/forbid BLOCK...   the answers hold none of these; alone: they may hold all again
/budget N BLOCK=N  most positions of an answer, and codes of an item of BLOCK (nested codes); alone: as at first
/seed N            answers are drawn anew from N on
/reset             forget what was said
/save FILE.json    keep the conversation, all codes included
/load FILE.json    take one up; it goes on as it would have
/help              this"""


def command(talk: Conversation, line: str) -> str:
    """Do what a line that begins with "/" says, and tell it in a sentence.

    Raises:
        ValueError: an unknown command, or words that it does not take.
        OSError: a file that cannot be read or written.
    """
    name, *words = line.split()
    if name == "/help":
        return HELP
    if name == "/reset":
        talk.reset()
        return "forgotten"
    if name in ("/save", "/load"):
        path = line[len(name) :].strip()
        if not path:
            raise ValueError(f"{name} needs a file: {name} talk.json")
        if name == "/save":
            talk.save(path)
            return f"saved to {path}"
        talk.load(path)
        return f"taken up: {len(talk.turns)} turns"
    if name == "/force":
        if len(words) > 1:
            raise ValueError(f"an answer begins with one block, not with {len(words)}: /force image")
        talk.set(first=words[0] if words else None)
        return f"answers begin with {words[0]}" if words else "answers begin as the model chooses"
    if name == "/forbid":
        talk.set(forbid=words or None)
        return f"answers hold no {', '.join(words)}" if words else "answers may hold every block"
    if name == "/budget":
        talk.set(budget=budget(words) if words else talk.given.get("budget"))
        return f"budget: {' '.join(words)}" if words else "budget as at first"
    if name == "/seed":
        if len(words) != 1 or not words[0].isdecimal():
            raise ValueError("a seed is a whole number: /seed 5")
        talk.seed = int(words[0]) - talk.asked
        return f"the next answer is drawn from {words[0]}"
    raise ValueError(f"there is no command {name}: /help lists them")


def answer(talk: Conversation, line: str, out: Path) -> None:
    """Say a line and print the answer as it comes; its items go to files in `out`."""
    for event in talk.say(line):
        if event[0] == "dropped":
            print(f"(the oldest {event[1]} turns no longer fit and were dropped)")
        elif event[0] == "text":
            print(printable(event[1]), end="", flush=True)
        elif event[0] == "begin":
            print(f"[{event[1]} ", end="", flush=True)
        elif event[0] == "end":
            print(keep(talk.sampler.modalities[event[1]], event[2], free(out, event[1])), end="]", flush=True)
    print()


def keep(modality: Modality, item: Item, path: Path) -> str:
    """Save an item and its picture to `path` plus a suffix; the item in a few words and the files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_suffix(suffix) for suffix in modality.suffixes[:1]]
    for file in files:
        modality.save(item, file)
    if path.with_suffix(".png") not in files:
        try:
            picture = modality.show(item)
        except TypeError:  # it has no picture
            picture = None
        if picture is not None:
            files.append(path.with_suffix(".png"))
            picture.save(files[-1])
    return ": ".join(filter(None, [modality.label(item), ", ".join(map(str, files))]))


def printable(text: str) -> str:
    """Text for a terminal: control characters that a model may write, line ends and tabs apart, as U+FFFD."""
    return "".join("\ufffd" if category(c) == "Cc" and c not in "\n\t" else c for c in text)


def free(folder: Path, block: str) -> Path:
    """A path without suffix in `folder` at which no item lies yet: 01-image, 02-image, ..."""
    number = 1
    while list(folder.glob(f"{number:02d}-*")):
        number += 1
    return folder / f"{number:02d}-{block}"
