"""Questions of records to a model: what is asked, what may be answered, and in which order it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from unitok.data.sources import Record
from unitok.eval.replies import answers, content, replies, split
from unitok.generate import Sampler


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


def test_answers_stand_where_their_questions_stood(world, random_decoder):
    sampler = Sampler(random_decoder, *world)
    long, short = "a long question" * 3, "short"
    records = [
        record(("user", [{"text": one}, {"image": square}]), ("assistant", [{answer: wanted}]))
        for one, square, answer, wanted in (
            (long, [1, 1, 1, 1], "text", "x"),
            (short, [2, 0, 1, 0], "text", "y"),
            (short, [7, 7, 7, 7], "text", "z"),  # too bright to be encoded
            (short, [1, 2, 3, 4], "text", "w"),
        )
    ]
    found = list(replies(sampler, records, temperature=0.0, budget=6))
    assert [reply.wanted for reply in found] == [["x"], ["y"], ["z"], ["w"]]
    assert found[2].given == []
    assert found[0].asked == [long, [1, 1, 1, 1]]
    alone = list(replies(sampler, records[:1], temperature=0.0, budget=6))
    assert alone[0].given == found[0].given
    assert all(len("".join(reply.given)) <= 6 for reply in found)


def test_what_cannot_be_encoded_is_listed_with_its_reason(world, random_decoder):
    sampler = Sampler(random_decoder, *world)
    asked = [[("user", [("image", square)])] for square in ([1, 1, 1, 1], [7, 7, 7, 7])]
    given, refused = answers(sampler, asked, [("text",)] * 2, budget=4)
    assert refused == {1: "the picture is too bright"}
    assert len(given) == 2
    assert given[1] == []
