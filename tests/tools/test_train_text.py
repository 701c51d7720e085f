"""tools/train_text.py gives the shipped model again, from the training split alone."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from modalities.text.pieces import MODEL, Pieces

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("train_text", ROOT / "tools" / "train_text.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_model_is_reproduced(tool, tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "again.model"
    monkeypatch.setattr("sys.argv", ["train_text.py", "--out", str(out)])
    tool.main()
    assert out.read_bytes() == MODEL.read_bytes()
    printed = capsys.readouterr().out
    assert Pieces().spec.fingerprint in printed
    assert "molecules.jsonl.gz: held out" in printed


def test_held_out_text_is_not_in_the_corpus(tool, tmp_path) -> None:
    rows = [
        {"key": "a", "split": "train", "caption": ["One.", "Two."]},
        {"key": "b", "split": "heldout", "caption": ["Three."]},
        {"key": "c", "document": [{"text": "Four"}, {"image": {"file": "x"}}, {"text": "five"}]},
        {"key": "d", "turns": [{"role": "user", "content": [{"text": "Six"}]}]},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert tool.corpus(tmp_path, "train") == {"x.jsonl": ["One.", "Two.", "Four", "five", "Six"]}
    assert tool.corpus(tmp_path, "heldout") == {"x.jsonl": ["Three."]}


def test_the_model_is_small_and_short(tool) -> None:
    assert MODEL.stat().st_size < 40_000
    assert Pieces().spec.size == 2048
    texts = tool.corpus(ROOT / "recipes" / "demo", "heldout")
    pieces = Pieces()
    for name, least in (("books.jsonl.gz", 2.6), ("molecules.jsonl.gz", 2.9), ("images.jsonl", 2.3)):
        chars, tokens = sum(map(len, texts[name])), sum(map(len, pieces.encode(texts[name])))
        assert chars / tokens > least
