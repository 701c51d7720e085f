"""Words of the Penn Treebank: what Stanford's tokenizer gave for lines with all sorts of signs, and on real answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from held import held

from unitok.eval.qa3d.words import treebank

NOTED = json.loads((Path(__file__).parents[3] / "golden" / "qa3d_words.json").read_text())["rows"]


@pytest.mark.parametrize(("text", "words"), NOTED, ids=range(len(NOTED)))
def test_noted_lines(text, words):
    assert treebank(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [("", []), ("  ", []), (".", []), ("It's 'red'.", ["it", "'s", "red"]), ("TV", ["tv"]), ("ein Stuhl für Ä", ["ein", "stuhl", "für", "ä"])],
)  # fmt: skip
def test_small_ones(text, words):
    assert treebank(text) == words


@pytest.mark.slow
def test_all_answers_of_scanqa_have_the_words_of_stanfords_tokenizer():
    package = pytest.importorskip(
        "pycocoevalcap.tokenizer.ptbtokenizer", reason="pycocoevalcap is not installed"
    )
    if shutil.which("java") is None:
        pytest.skip("there is no java")
    items = json.loads(held("pointcloud", "qa/ScanQA_v1.0_val.json").read_text())
    texts = [text for item in items for text in (item["question"], *item["answers"])]
    official = package.PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})
    assert [" ".join(treebank(text)) for text in texts] == [official[i][0] for i in range(len(texts))]
