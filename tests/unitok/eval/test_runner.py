from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from unitok import Codes, Document, Mark, Segment
from unitok.document import segment
from unitok.eval.runner import answer, run, summary
from unitok.eval.task import Piece, Task, conversation, pieces, rows
from unitok.generate import Options, Sampler


class Scripted:
    """Answers from a list, remembering what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def generate(self, prompts, **options):
        self.calls.append((prompts, options))
        return [self.answers.pop(0) for _ in prompts]


@pytest.fixture
def tools(world):
    vocabulary, modalities = world

    def seg(name, item):
        return segment(modalities[name], item)

    def raw(name, ids):
        return Segment(name, Codes(torch.tensor(ids)))

    return SimpleNamespace(vocabulary=vocabulary, modalities=modalities, seg=seg, raw=raw)


def drawing(tools, picture, said="Draw", key=""):
    return Document.chat(
        [("user", [tools.seg("text", said)]), ("assistant", [tools.seg("image", picture)])], key
    )


def test_the_prompt_is_everything_before_the_answer(tools):
    sampler = Scripted([tools.seg("image", [1, 2, 3, 4]), Mark("turn")])
    document = drawing(tools, [1, 1, 1, 1])
    [one] = answer(Task("draw", [document]), sampler, tools.modalities)
    asked = sampler.calls[0][0][0]
    assert asked.prompt(tools.vocabulary).ids.equal(document.prompt(tools.vocabulary).ids)
    assert [piece.item for piece in one.written[1]] == [[1, 2, 3, 4]]
    assert one.written[0] is None
    assert [piece.item for piece in one.reference[1]] == [[1, 1, 1, 1]]


def test_scores_stand_beside_a_strangers_reference(tools):
    documents = [drawing(tools, [1, 1, 1, 1]), drawing(tools, [5, 5, 5, 5])]
    sampler = Scripted([tools.seg("image", [1, 1, 1, 1])], [tools.seg("image", [5, 5, 5, 3])])
    task = Task("draw", documents)
    found = summary(task, answer(task, sampler, tools.modalities), tools.modalities)
    assert found["scores"]["image.distance"] == {"mean": 0.25, "count": 2}
    assert found["chance"]["image.distance"] == {"mean": pytest.approx(3.75), "count": 2}
    assert found["scores"]["image.written"]["mean"] == 1.0
    assert found["valid"] == {"image": {"written": 2, "valid": 2, "encodes": 2, "errors": []}}


def test_what_does_not_decode_or_is_empty_is_not_valid(tools):
    documents = [drawing(tools, [1, 1, 1, 1]) for _ in range(5)]
    sampler = Scripted(
        [tools.raw("image", [7, 1, 1, 1])],
        [tools.raw("image", [0, 0, 0, 0])],
        [tools.seg("text", "no")],
        [tools.seg("image", [1, 1, 1, 1])],
        [tools.raw("image", [6, 6, 6, 6])],
    )
    task = Task("draw", documents)
    found = summary(task, answer(task, sampler, tools.modalities), tools.modalities)
    assert [found["valid"]["image"][name] for name in ("written", "valid", "encodes")] == [4, 2, 1]
    assert [("7" in e, "empty" in e) for e in found["valid"]["image"]["errors"]] == [
        (True, False),
        (False, True),
    ]
    assert found["scores"]["image.written"] == {"mean": 0.4, "count": 5}
    assert found["scores"]["image.distance"] == {"mean": 2.5, "count": 2}


def test_every_turn_sees_the_models_own_earlier_answers(tools):
    text = tools.seg
    document = Document.chat(
        [
            ("user", [text("text", "One?")]),
            ("assistant", [text("text", "1")]),
            ("user", [text("text", "Two?")]),
            ("assistant", [text("text", "2")]),
        ]
    )
    sampler = Scripted([text("text", "eins")], [text("text", "zwei")])
    [one] = answer(Task("count", [document], every_turn=True), sampler, tools.modalities)
    second = sampler.calls[1][0][0]
    ids = second.prompt(tools.vocabulary).ids
    said = [
        tools.modalities["text"].decode([p.codes])[0]
        for p in tools.vocabulary.parse(ids)
        if isinstance(p, Segment)
    ]
    assert said == ["One?", "eins", "Two?"]
    assert [w and w[0].item for w in one.written] == [None, "eins", None, "zwei"]
    sampler = Scripted([text("text", "eins")])
    [one] = answer(Task("count", [document]), sampler, tools.modalities)
    assert [w and w[0].item for w in one.written] == [None, "eins", None, None]


def test_text_is_scored_by_words(tools):
    document = Document.chat(
        [("user", [tools.seg("text", "?")]), ("assistant", [tools.seg("text", "a red cat")])]
    )
    task = Task("say", [document, document])
    sampler = Scripted([tools.seg("text", "a red dog")], [tools.seg("text", "A red cat")])
    found = summary(task, answer(task, sampler, tools.modalities), tools.modalities)
    assert found["scores"]["text.exact"]["mean"] == 0.5
    assert found["scores"]["text.f1"]["mean"] == pytest.approx((2 / 3 + 1) / 2)


def test_an_answer_does_not_depend_on_its_batch(tools, random_decoder, monkeypatch):
    sampler = Sampler(random_decoder, tools.vocabulary, tools.modalities)
    documents = [drawing(tools, [1, 1, 1, 1], said=s) for s in ("a", "bb", "ccc")]
    task = Task("draw", documents, Options(budget=24, seed=5))

    def written():
        return [[p.item for p in one.written[1]] for one in answer(task, sampler, tools.modalities)]

    whole = written()
    monkeypatch.setattr("unitok.eval.runner.BATCH", 1)
    assert written() == whole


def test_the_report_is_plain_data_with_origin(tools, random_decoder):
    sampler = Sampler(random_decoder, tools.vocabulary, tools.modalities)
    tasks = [
        Task(
            "draw",
            [drawing(tools, [1, 2, 3, 4], key="k1")],
            Options(budget=16, produce=("image",), first="image"),
        ),
        Task("other", [drawing(tools, [1, 2, 3, 4])], Options(budget=16, guidance={"image": 2.0})),
    ]
    found = json.loads(json.dumps(run(tasks, sampler, tools.vocabulary, tools.modalities)))
    assert found["vocabulary"] == tools.vocabulary.fingerprint
    assert {"python", "torch", "numpy"} <= set(found["versions"])
    assert set(found["tasks"]) == {"draw", "other"}
    draw = found["tasks"]["draw"]
    assert (draw["documents"], draw["turns"], draw["sampling"]["seed"]) == (1, 1, 0)
    assert draw["chance"] == {}
    assert draw["scores"]["image.written"]["mean"] == 1.0
    turn = draw["examples"][0]["turns"][1]
    assert draw["examples"][0]["key"] == "k1"
    assert turn["reference"] == [{"image": "squares 1-2-3-4"}]
    assert turn["written"][0]["image"].startswith(("squares", "(not valid"))


def test_clear_errors(tools):
    with pytest.raises(ValueError, match="task 'empty' has no documents"):
        answer(Task("empty", []), Scripted(), tools.modalities)
    twice = [Task("a", []), Task("a", [])]
    with pytest.raises(ValueError, match="2 tasks are called 'a'"):
        run(twice, Scripted(), tools.vocabulary, tools.modalities)


def test_a_parsed_chat_is_the_document_again(tools):
    document = drawing(tools, [1, 2, 3, 4])
    rendered = document.render(tools.vocabulary)
    again = conversation(tools.vocabulary.parse(rendered.ids), tools.vocabulary).render(tools.vocabulary)
    assert again.ids.equal(rendered.ids)
    assert again.weight.equal(rendered.weight)
    plain = Document.of(tools.seg("text", "x")).render(tools.vocabulary).ids
    with pytest.raises(ValueError, match="'k' has no assistant turn"):
        conversation(tools.vocabulary.parse(plain), tools.vocabulary, "k")


def test_a_task_of_its_own_kind_overrides_score(tools):
    class Brightness(Task):
        def score(self, prediction, reference, modalities):
            return {"bright": float(sum(prediction[0].item))}

    task = Brightness("bright", [drawing(tools, [1, 1, 1, 1])])
    sampler = Scripted([tools.seg("image", [1, 2, 3, 4])])
    found = summary(task, answer(task, sampler, tools.modalities), tools.modalities)
    assert found["scores"] == {"bright": {"mean": 10.0, "count": 1}}


def test_pieces_keep_the_reason(tools):
    found = pieces([tools.raw("image", [7, 0, 0, 0]), tools.seg("text", "a")], tools.modalities)
    assert found[0].item is None
    assert "begin with 7" in found[0].error
    assert (found[1].name, found[1].item, found[1].error) == ("text", "a", "")
    assert isinstance(found[1], Piece)


def test_means_are_over_what_is_there_and_finite():
    found = rows([{"a": 1.0, "b": float("inf")}, {"a": 3.0}, {"b": 2.0}])
    assert found == {"a": {"mean": 2.0, "count": 2}, "b": {"mean": 2.0, "count": 1}}
    assert rows([{"a": float("nan")}]) == {}


def test_a_measure_that_only_some_items_have_is_averaged_over_these(tools):
    image = SimpleNamespace(
        spec=SimpleNamespace(framed=True),
        compare=lambda a, b: {"same": float(a == b)} | ({"far": float(b)} if a == b else {}),
    )
    said = [Piece("image", 1), Piece("image", 3), Piece("image", 5)]
    wanted = [Piece("image", 2), Piece("image", 3), Piece("image", 5)]
    found = Task("t", []).score(said, wanted, {"image": image})
    assert found == {"image.written": 1.0, "image.same": pytest.approx(2 / 3), "image.far": 4.0}
