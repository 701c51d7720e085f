"""Baselines that see no scene: what they answer, and that a scene never answers its own questions."""

from __future__ import annotations

from unitok.eval.qa3d import blind
from unitok.eval.qa3d.formats import Question

KNOWN = [
    Question("1", "a", "What is on the table?", ("lamp",), "Object"),
    Question("2", "a", "What is on the floor?", ("lamp", "rug"), "Object"),
    Question("3", "b", "Where is the lamp?", ("left",), "Place"),
    Question("4", "b", "Where is the lamp on the table?", ("left", "left"), "Place"),
    Question("5", "c", "Where is the rug on the floor?", ("right",), "Place"),
]


def test_a_scene_is_answered_from_the_others():
    assert blind.majority(KNOWN)["1"] == ["left", "right"]
    assert blind.majority(KNOWN)["5"] == ["left", "lamp", "rug"]
    assert blind.by_type(KNOWN)["3"] == ["right"]
    assert blind.by_type(KNOWN)["1"] == []  # no other scene has a question of the type
    assert blind.nearest(KNOWN)["5"][0] == "left"


def test_training_questions_answer_when_they_are_given():
    asked = [
        Question("x", "a", "Where is the rug?", ("back",), "Place"),
        Question("y", "z", "What is on the floor now?", ("dog",), "Object"),
    ]
    assert blind.majority(asked, KNOWN)["x"][0] == "left"
    assert blind.by_type(asked, KNOWN) == {"x": ["left", "right"], "y": ["lamp", "rug"]}
    found = blind.nearest(asked, KNOWN)
    assert set(found["x"][:2]) == {"left", "right"}  # all questions that begin with "Where is the"
    assert found["y"][0] == "lamp"  # both questions that begin with "What is on the"


def test_words_nobody_used_give_no_vote_but_an_answer():
    found = blind.nearest([Question("x", "q", "Xylophone?", ("no",), "Other")], KNOWN)
    assert len(found["x"]) > 0
    assert len(blind.nearest(KNOWN * 3)["1"]) <= blind.MOST
