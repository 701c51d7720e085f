"""Lemmas of nouns by WordNet's own rules (its manual page morphy(7WN)), from `index.noun` and `noun.exc` alone.

    lemma = Lemmatizer(wordnet.folder())
    lemma("churches") -> "church"

A form listed as irregular has the base forms of the list, any other those that the rules of detachment give; of
these and the form itself the shortest that WordNet has is the lemma. What WordNet does not have stays as it is.
This is what nltk's WordNetLemmatizer gives, without nltk.
"""

from __future__ import annotations

from pathlib import Path

from . import wordnet

ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)


class Lemmatizer:
    """Called with a word, gives its lemma as a noun.

    Args:
        folder: a WordNet `dict` folder, as `wordnet.folder` makes it.

    Raises:
        OSError: `index.noun` or `noun.exc` cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        index = (folder / "index.noun").read_text(encoding="utf-8").splitlines()
        self.nouns = {line.partition(" ")[0] for line in index if not line.startswith(" ")}
        rows = (line.split() for line in (folder / "noun.exc").read_text(encoding="utf-8").splitlines())
        self.irregular = {row[0]: row[1:] for row in rows if len(row) > 1}

    def __call__(self, word: str) -> str:
        """The lemma; case matters, as in WordNet's files, which are in lower case."""
        bases = self.irregular.get(word)
        if bases is None:
            bases = [word[: -len(old)] + new for old, new in ENDINGS if word.endswith(old)]
        known = [form for form in (word, *bases) if form in self.nouns]
        return min(known, key=len) if known else word


def lemmatizer() -> tuple[Lemmatizer | None, str | None]:
    """One on the user's WordNet folder, which is made if need be; or None and why there is none."""
    try:
        return Lemmatizer(wordnet.folder()), None
    except wordnet.NoWordNet as error:
        return None, str(error)
