"""Files that these tests share: predictions held beside the checkout, and a WordNet of two words."""

from __future__ import annotations

from pathlib import Path

import pytest
from wordnet_toys import two_words

from modalities.common import wordnet

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
    return two_words(tmp_path / "dict")


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
