"""A WordNet of two words, for tests."""

from __future__ import annotations

from pathlib import Path

from modalities.common import wordnet


def two_words(folder: Path) -> Path:
    """A `dict` folder in WordNet's format in which car and auto are synonyms."""
    folder.mkdir()
    for part in wordnet.PARTS:
        (folder / f"data.{part}").write_text("")
        (folder / f"index.{part}").write_text("")
    (folder / "data.adj").write_text("  1 WordNet 9.9 Copyright nobody\n")
    (folder / "data.noun").write_text("00000000 06 n 02 car 0 auto 0 000 | a vehicle\n")
    (folder / "index.noun").write_text("auto n 1 0 1 0 00000000\ncar n 1 0 1 0 00000000\n")
    return folder
