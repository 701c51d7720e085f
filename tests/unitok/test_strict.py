"""Strict settings of any pydantic model: unknown keys name the nearest known one, wrong values say what and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import model_validator

from unitok.strict import ConfigError, Strict, merge, named, read, validate


class Inner(Strict):
    steps: int = 3

    @model_validator(mode="after")
    def _even(self) -> Inner:
        if self.steps > 100:
            raise ValueError(f"inner.steps {self.steps} is over 100: take fewer")
        return self


class Outer(Strict):
    name: str
    inner: Inner = Inner()


def test_good_values() -> None:
    assert validate(Outer, {"name": "a", "inner": {"steps": 4}}, "x.toml").inner.steps == 4


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"name": "a", "iner": {}}, "x.toml: unknown key 'iner': did you mean 'inner'"),
        ({"name": "a", "inner": {"step": 1}}, "unknown key 'inner.step': did you mean 'steps'"),
        ({"name": "a", "zzzz": 1}, "known keys are name, inner"),
        ({}, "x.toml: the key 'name' is missing"),
        ({"name": "a", "inner": {"steps": "many"}}, "inner.steps = 'many': input should be a valid integer"),
        ({"name": "a", "inner": {"steps": 101}}, "x.toml: inner.steps 101 is over 100: take fewer$"),
    ],
)
def test_bad_values_are_one_sentence(tree: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        validate(Outer, tree, "x.toml")
    assert "\n" not in str(caught.value)


def test_a_tree_is_read_with_its_base_below_and_overrides_above(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\n[inner]\nsteps = 1\nmore = 2\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n[inner]\nsteps = 2\n')
    tree = read(tmp_path / "b.toml", ["inner.more=[3]", "name=two words"])
    assert tree == {"name": "two words", "inner": {"steps": 2, "more": [3]}}


def test_the_first_word_may_be_a_file_or_an_override() -> None:
    assert named(["x.toml", "a=1"], "d.toml") == (Path("x.toml"), ["a=1"])
    assert named(["a=1"], "d.toml") == (Path("d.toml"), ["a=1"])
    assert named([], "d.toml") == (Path("d.toml"), [])


def test_merging_goes_into_tables_and_leaves_both_as_they_were() -> None:
    below = {"a": 1, "table": {"x": 1, "deep": {"y": 2}}, "list": [1]}
    above = {"a": 2, "table": {"deep": {"z": 3}}, "list": [2], "new": {"b": 1}}
    merged = merge(below, above)
    assert merged == {"a": 2, "table": {"x": 1, "deep": {"y": 2, "z": 3}}, "list": [2], "new": {"b": 1}}
    assert below == {"a": 1, "table": {"x": 1, "deep": {"y": 2}}, "list": [1]}
    assert merge({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
