"""Strict settings: unknown keys name the nearest known one, wrong values say what and where."""

from __future__ import annotations

import pytest

from modalities.common.settings import Settings, parse


class Inner(Settings):
    steps: int = 3


class Outer(Settings):
    name: str
    inner: Inner = Inner()


def test_good_values() -> None:
    assert parse(Outer, {"name": "a", "inner": {"steps": 4}}, "x.toml").inner.steps == 4


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"name": "a", "iner": {}}, "x.toml: unknown key 'iner': did you mean 'inner'"),
        ({"name": "a", "inner": {"step": 1}}, "unknown key 'inner.step': did you mean 'steps'"),
        ({"name": "a", "zzzz": 1}, "known keys: name, inner"),
        ({}, "x.toml: name: Field required"),
        ({"name": "a", "inner": {"steps": "many"}}, r"inner.steps: .*'many'"),
    ],
)
def test_bad_values_are_one_sentence(tree: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(Outer, tree, "x.toml")
    assert "\n" not in str(caught.value)
