"""Which block a model opens by itself, on answers that a script writes and on those of a random model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from unitok import Codes, Document, Mark, Segment
from unitok.document import segment
from unitok.eval.openings import openings, questions, turns
from unitok.eval.runner import run
from unitok.eval.task import Task
from unitok.generate import Options, Sampler


@pytest.fixture
def tools(world):
    vocabulary, modalities = world

    def seg(name, item):
        return segment(modalities[name], item)

    return SimpleNamespace(vocabulary=vocabulary, modalities=modalities, seg=seg)


class Writer:
    """Answers from a list in a sampler's place, remembering what it was asked."""

    def __init__(self, tools, *answers):
        self.vocabulary, self.modalities = tools.vocabulary, tools.modalities
        self.answers = list(answers)
        self.calls = []

    def generate(self, prompts, **options):
        self.calls.append((prompts, options))
        return [self.answers.pop(0) for _ in prompts]


def asks(tools, *answer):
    parts = [
        tools.seg("image", item) if isinstance(item, list) else tools.seg("text", item) for item in answer
    ]
    return Document.chat([("user", [tools.seg("text", "Do.")]), ("assistant", parts)])


def writes(tools, *answer):
    return [*asks(tools, *answer).turns[-1].segments, Mark("turn")]


def test_recall_unasked_and_text_after_are_counted(tools):
    asked = [
        asks(tools, [1, 2, 3, 4]),
        asks(tools, [1, 2, 3, 4], "a dot"),
        asks(tools, "Here:", [1, 2, 3, 4]),
        asks(tools, "no picture"),
        asks(tools, "none either"),
    ]
    answers = [
        writes(tools, [1, 1, 1, 1]),
        writes(tools, [1, 1, 1, 1], "a square"),
        writes(tools, "I cannot."),
        writes(tools, "words", [2, 2, 2, 2]),
        writes(tools, "words"),
    ]
    sampler = Writer(tools, *answers)
    found = openings(sampler, asked, controls=0)
    assert found["answers"] == 5
    assert found["blocks"] == {
        "image": {
            "recall": {"count": 2, "of": 3},
            "first": {"count": 2, "of": 2},
            "unasked": {"count": 1, "of": 2},
            "after": {"count": 1, "of": 1},
        }
    }
    assert found["instead"] == {"image": {"image": 2}, "text": {"text": 3}}
    [(prompts, options)] = sampler.calls
    assert options["temperature"] == 0.0
    assert not {"first", "produce", "forbid"} & options.keys()
    assert all(budget >= 6 + 32 for budget in options["budget"])
    assert prompts[0].prompt(tools.vocabulary).ids[-1] == tools.vocabulary.mark("assistant")


def test_text_before_a_picture_is_no_text_after_it(tools):
    found = openings(
        Writer(tools, writes(tools, "b", [1, 1, 1, 1])), [asks(tools, [1, 1, 1, 1], "a")], controls=0
    )
    assert found["blocks"]["image"]["after"] == {"count": 0, "of": 1}
    assert found["blocks"]["image"]["recall"] == {"count": 1, "of": 1}
    assert found["blocks"]["image"]["first"] == {"count": 0, "of": 1}


def test_the_controls_are_those_of_the_grammar(tools, random_decoder):
    sampler = Sampler(random_decoder, tools.vocabulary, tools.modalities)
    asked = [asks(tools, "a"), asks(tools, [1, 2, 3, 4])]
    row = openings(sampler, asked)["blocks"]["image"]
    assert row["forced"]["count"] == row["forced"]["of"] == 2
    assert row["forbidden"] == {"count": 2, "of": 2}
    assert 0 <= row["forced"]["valid"] <= 2


def test_a_control_that_fails_is_told(tools):
    broken = Segment("image", Codes(torch.tensor([7, 1, 1, 1])))  # cannot be decoded
    answers = [writes(tools, "a"), [broken, Mark("turn")], writes(tools, [1, 1, 1, 1])]
    row = openings(Writer(tools, *answers), [asks(tools, "a")])["blocks"]["image"]
    assert row["forced"] == {"count": 1, "of": 1, "valid": 0}
    assert row["forbidden"] == {"count": 0, "of": 1}


def test_questions_are_even_over_kinds_of_answers_and_every_turn_is_one(tools, heldout):
    found = questions(heldout, tools.vocabulary, each=4)
    kinds = [tuple(s.name for s in one.turns[-1].segments) for one in found]
    assert kinds.count(("image",)) == 4
    assert kinds.count(("text", "image")) == 4
    assert sum("image" not in kind for kind in kinds) == 4
    assert {one.key[0] for one in found} == {"r", "t"}
    assert [one.key for one in found] == [one.key for one in questions(heldout, tools.vocabulary, each=4)]
    assert len(questions(heldout, tools.vocabulary, each=10**6)) == 8 * 2 + 8 * 2
    assert questions(heldout, tools.vocabulary, each=0) == []


def test_a_chat_is_cut_after_each_of_its_answers(tools):
    said = tools.seg("text", "a")
    chat = Document.chat([("user", [said]), ("assistant", [said]), ("user", [said]), ("assistant", [said])])
    assert [len(one.turns) for one in turns(chat)] == [2, 4]


def test_every_report_of_tasks_has_them(tools, random_decoder):
    sampler = Sampler(random_decoder, tools.vocabulary, tools.modalities)
    task = Task("draw", [asks(tools, [1, 2, 3, 4])], Options(budget=20))
    report = run([task], sampler, tools.vocabulary, tools.modalities)
    found = report["tasks"]["draw"]["openings"]
    assert found["answers"] == 1
    assert found["blocks"]["image"]["recall"]["of"] == 1


def test_controls_are_tried_on_every_kind_of_question(tools):
    class Same(Writer):
        def generate(self, prompts, **options):
            self.calls.append((prompts, options))
            return [writes(tools, "words") for _ in prompts]

    asked = [asks(tools, "a")] * 9 + [asks(tools, [1, 2, 3, 4])] * 3
    sampler = Same(tools)
    openings(sampler, asked, controls=4)
    tried = [prompts for prompts, options in sampler.calls if "forbid" in options]
    assert tried[0] == [asked[0], asked[3], asked[6], asked[9]]
    for few, count in ((1, 8), (12, 12), (9, 2)):
        openings(sampler, asked[:few], controls=count)
        assert 0 < len(sampler.calls[-1][0]) <= count
