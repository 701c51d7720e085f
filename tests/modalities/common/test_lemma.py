"""Lemmas of nouns: WordNet's rules on a small folder, and nltk's answers on the real one."""

from __future__ import annotations

import json

import pytest
from held import held
from wordnet_toys import two_words

from modalities.common import wordnet
from modalities.common.lemma import Lemmatizer


@pytest.fixture
def toy(tmp_path):
    folder = two_words(tmp_path / "dict")
    nouns = ("bus", "cat", "glass", "glasses", "mouse", "ox", "knife", "woman", "city")
    lines = "".join(f"{noun} n 1 0 1 0 00000000\n" for noun in nouns)
    (folder / "index.noun").write_text("  1 a line of the licence\n" + lines)
    (folder / "noun.exc").write_text("mice mouse\nknives knife\noxen ox\n")
    return Lemmatizer(folder)


@pytest.mark.parametrize(
    ("word", "lemma"),
    [
        ("cats", "cat"),
        ("buses", "bus"),
        ("bus", "bus"),
        ("glasses", "glass"),
        ("mice", "mouse"),
        ("knives", "knife"),
        ("women", "woman"),
        ("cities", "city"),
        ("Cats", "Cats"),
        ("unknowns", "unknowns"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_rules(toy, word, lemma):
    assert toy(word) == lemma


def test_every_word_of_the_answers_has_nltks_lemma():
    pytest.importorskip("nltk", reason="nltk is not installed")
    path = held("pointcloud", "qa/ScanQA_v1.0_val.json")
    ready = wordnet.cache() / "corpora" / "wordnet"
    if not (ready / "lexnames").is_file():
        pytest.skip("no WordNet folder has been made in the user's cache")
    reader, lemma = wordnet.reader(ready), Lemmatizer(ready)
    words = {
        word for item in json.loads(path.read_text()) for text in item["answers"] for word in text.split()
    }
    assert len(words) > 1000
    for word in words:
        found = reader._morphy(word, "n")  # what WordNetLemmatizer.lemmatize chooses from
        assert lemma(word) == (min(found, key=len) if found else word)
