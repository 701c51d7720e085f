"""Questions of records to a model: what is asked, what may be answered, and in which order it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from unitok.data.sources import Record
from unitok.eval.replies import content, split


def record(*turns) -> Record:
    said = [{"role": role, "content": parts} for role, parts in turns]
    return Record("k", {"turns": said}, "file:3", Path())


def test_the_last_turn_is_the_answer():
    turns, answer = split(record(("user", [{"text": "a"}, {"chord": "b"}]), ("assistant", "yes")), "text")
    assert turns == [("user", [("text", "a"), ("chord", "b")])]
    assert answer == [("text", "yes")]


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([("user", "a")], "file:3: a record to be answered has turns that end with the assistant's"),
        ([("user", "a"), ("user", "b")], "end with the assistant's"),
        (
            [("user", [{"a": 1, "b": 2}]), ("assistant", "b")],
            "file:3: a turn's content is a string or a list",
        ),
        ([("user", []), ("assistant", "b")], "a turn's content is"),
    ],
)
def test_what_cannot_be_asked_is_named(turns, said):
    with pytest.raises(ValueError, match=said):
        split(record(*turns), "text")


def test_a_string_is_text():
    assert content({"content": "hello"}, "words") == [("words", "hello")]
