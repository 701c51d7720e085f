"""The recipe that tokenizes and the tool that looks at stores, run in this process."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from unitok.data.tally import BadSource

ROOT = Path(__file__).parents[3]


def script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path):
    rows = [
        json.dumps({"key": f"k{i}", "t": f"word {i}", "split": "heldout" if i == 3 else "train"})
        for i in range(6)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows, "{broken"]))
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        run = "{tmp_path / "run"}"
        vocabulary.text.use = "text.bytes"
        [data]
        cache = "{tmp_path / "cache"}"
        [data.sources.words]
        path = "rows.jsonl"
        fields = {{ t = "text" }}
        chat = [{{ user = "Say it.", assistant = "{{t}}" }}]
        """
    )
    return path


def test_the_recipe_builds_both_splits_and_goes_on_after_a_bad_record(config, capsys):
    script(ROOT / "recipes" / "tokenize_data.py").main([str(config), "data.seq_len=64", "--verify"])
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines() if line.startswith(("train ", "heldout "))]
    assert [(line[0], line[1], line[2]) for line in lines] == [
        ("train", "words", "5"),
        ("heldout", "words", "1"),
    ]
    assert "rows.jsonl:7: the line is not JSON" in said.err
    assert "1 bad records left out" in said.err


def test_strict_stops(config):
    with pytest.raises(BadSource, match=r"rows.jsonl:7"):
        script(ROOT / "recipes" / "tokenize_data.py").main([str(config), "--strict"])


def test_the_tool_shows_documents(config, tmp_path, capsys):
    script(ROOT / "recipes" / "tokenize_data.py").main([str(config)])
    (store,) = (tmp_path / "cache").glob("words.train.*")
    capsys.readouterr()
    tool = script(ROOT / "tools" / "inspect_store.py")
    tool.main([str(store), "--key", "k2", "--config", str(config), "--verify"])
    said = capsys.readouterr().out
    assert "k2 [chat.0]" in said
    assert "Say it." in said
    assert "word 2" in said
    assert "word 1" not in said
    tool.main([str(store), "--key", "k2", "--null", "--config", str(config)])
    said = capsys.readouterr().out
    assert "word 2" in said
    assert "Say it." not in said


@pytest.mark.parametrize("folder", ["recipes", "tools"])
def test_no_script_hides_a_module_of_python(folder):
    # A script's folder comes first on sys.path: recipes/tokenize.py would break `import dataclasses` in all recipes.
    names = {path.stem for path in (ROOT / folder).glob("*.py")}
    assert not names & set(sys.stdlib_module_names)
