"""Files that these tests share: predictions held beside the checkout, and a WordNet of two words."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalities.molecule.metrics import wordnet

SHARED = Path(__file__).parents[5] / "shared" / "data" / "molecule"


@pytest.fixture
def held():
    """The folder of released predictions; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("the released molecule predictions are not beside this checkout")
    pytest.importorskip("zstandard", reason="zstandard is not installed")
    return SHARED


@pytest.fixture
def dictionary(tmp_path):
    """A `dict` folder in WordNet's format in which car and auto are synonyms."""
    folder = tmp_path / "dict"
    folder.mkdir()
    for part in wordnet.PARTS:
        (folder / f"data.{part}").write_text("")
        (folder / f"index.{part}").write_text("")
    (folder / "data.adj").write_text("  1 WordNet 9.9 Copyright nobody\n")
    (folder / "data.noun").write_text("00000000 06 n 02 car 0 auto 0 000 | a vehicle\n")
    (folder / "index.noun").write_text("auto n 1 0 1 0 00000000\ncar n 1 0 1 0 00000000\n")
    return folder


@pytest.fixture
def synonyms(dictionary, tmp_path, monkeypatch):
    """That folder in the user's cache, and nothing that could fetch another."""
    monkeypatch.setattr(wordnet, "SOURCES", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wordnet.prepare(dictionary, wordnet.cache() / "corpora" / "wordnet")
    return wordnet.cache()


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache and no source."""
    monkeypatch.setattr(wordnet, "SOURCES", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
