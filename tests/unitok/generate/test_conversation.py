"""A conversation keeps every code of what was said and written, drops whole turns, and goes on alike from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Plain

from unitok import Codes, Document, Modality, Segment, Vocabulary, create
from unitok.document import Mark
from unitok.generate import Sampler
from unitok.generate.console import HELP, command, printable
from unitok.generate.conversation import Conversation
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.segment import same


def _cloud(near: list[list[int]]) -> dict[str, Any]:
    return {"cloud": {"codes": [[1, 1, 1], [1, 1, 1]], "side": {"near": near}}}


def talk(sampler: Sampler, **options: Any) -> Conversation:
    return Conversation(sampler, **{"limit": 400, "seed": 3, "budget": 40, **options})


def told(conversation: Conversation, words: str, **options: Any) -> list[Any]:
    return list(conversation.say(words, **options))


def marks(document: Document, sampler: Sampler) -> list[str]:
    stream = document.render(sampler.vocabulary).parse(sampler.vocabulary)
    return [part.name for part in stream if isinstance(part, Mark)]


def test_pictures_molecules_and_clouds_stay_in_one_context_to_the_code(sampler: Sampler) -> None:
    conversation = talk(sampler, system="You draw.")
    spans: list[tuple[str, list[int]]] = []
    for block in ("image", "molecule", "cloud", "sound"):
        flat: list[int] = []
        for event in told(conversation, f"Make a {block}.", first=block):
            if event[0] == "begin":
                flat = []
            elif event[0] == "codes":
                flat += event[2].tolist()
            elif event[0] == "end":
                spans.append((event[1], flat))
    document = conversation.document()
    assert [turn.role for turn in document.turns] == ["system", *["user", "assistant"] * 4]
    kept = [
        s for turn in document.turns if turn.role == "assistant" for s in turn.segments if s.name != "text"
    ]
    assert [(s.name, sampler.vocabulary.flat(s.name, s.codes).tolist()) for s in kept] == spans
    assert {"image", "molecule", "cloud", "sound"} <= {name for name, _ in spans}
    rendered = document.render(sampler.vocabulary)
    assert same(rendered.parse(sampler.vocabulary), document.normal(sampler.vocabulary))
    assert marks(document, sampler) == [
        "doc",
        "system",
        "turn",
        *["user", "turn", "assistant", "turn"] * 4,
        "end",
    ]


def test_the_loss_mask_of_what_was_said_is_that_of_training(sampler: Sampler) -> None:
    conversation = talk(sampler)
    told(conversation, "Draw.", first="image")
    told(conversation, "Now a sound.", first="sound")
    document = conversation.document()
    rendered = document.render(sampler.vocabulary)
    wanted = sum(
        len(sampler.vocabulary.frame(s.name, s.codes))
        for turn in document.turns
        if turn.role == "assistant"
        for s in turn.segments
    )
    assert int((rendered.weight > 0).sum()) == wanted + 2  # and the `turn` that closes each answer


def test_text_after_a_picture_is_kept(sampler: Sampler) -> None:
    for seed in range(40):
        conversation = talk(sampler, seed=seed, budget=60, produce=("text", "image"))
        events = told(conversation, "Draw and say.", first="image")
        text = "".join(event[1] for event in events if event[0] == "text")
        parts = conversation.turns[-1][1]
        if text and parts[-1].name == "text":
            break
    else:
        pytest.fail("no answer had text after its picture")
    assert parts[0].name == "image"
    said = [sampler.modalities["text"].decode([s.codes])[0] for s in parts if s.name == "text"]
    assert "".join(said) == text


def test_an_answer_is_that_of_the_sampler_for_the_whole_document(sampler: Sampler) -> None:
    conversation = talk(sampler)
    told(conversation, "One.", first="image")
    before = conversation.document()
    asked = Document((*before.turns, *Document.chat([("user", [_text(sampler, "Two.")])]).turns))
    [wanted] = sampler.generate([asked], budget=40, seed=4)
    told(conversation, "Two.")
    given = conversation.turns[-1][1]
    framed = [part for part in wanted if isinstance(part, Segment) and part.name != "text"]
    assert same([s for s in given if s.name != "text"], framed)


def test_the_oldest_turns_give_way_whole_and_it_is_said(sampler: Sampler) -> None:
    conversation = talk(sampler, system="Be kind.", limit=160, budget=40)
    dropped = 0
    for number in range(8):
        events = told(conversation, f"Question number {number}, please answer it.")
        dropped += sum(event[1] for event in events if event[0] == "dropped")
        roles = [role for role, _ in conversation.turns]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
        assert len(conversation.document().render(sampler.vocabulary).ids) <= 160
    assert dropped > 0
    assert dropped % 2 == 0
    assert dropped + len(conversation.turns) == 1 + 16
    with pytest.raises(ValueError, match="the question takes .* the model has 160: shorten"):
        told(conversation, "x" * 200)
    assert [role for role, _ in conversation.turns] == roles


def test_a_saved_conversation_goes_on_alike(sampler: Sampler, tmp_path: Path) -> None:
    first = talk(sampler, temperature=0.8, forbid=["sound"])
    cloud = Codes(torch.tensor([[1, 2, 3], [0, 0, 4]]), {"near": torch.tensor([[1, -1], [5, 2]])})
    told(first, "Draw.", first="image")
    first.turns += [("user", [Segment("cloud", cloud), _text(sampler, "é?")]), ("assistant", [])]
    first.save(tmp_path / "talk.json")
    second = Conversation(sampler, 400)
    second.load(tmp_path / "talk.json")
    assert second.options == {**first.options, "forbid": ["sound"]}
    a, b = first.document().render(sampler.vocabulary), second.document().render(sampler.vocabulary)
    assert a.ids.equal(b.ids)
    assert a.weight.equal(b.weight)
    assert all(x.equal(y) for name in a.side for x, y in zip(a.side[name], b.side[name], strict=True))
    assert a.side.keys() == b.side.keys() == {"cloud_near"}
    for words in ("And then?", "More."):
        told(first, words)
        told(second, words)
    assert same(first.document().normal(sampler.vocabulary), second.document().normal(sampler.vocabulary))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": "other"}, "it is of vocabulary other"),
        ({"format": 9}, "its format is 9"),
        ({"turns": [{"role": "robot", "content": []}]}, "role 'robot' is unknown"),
        (
            {"turns": [{"role": "user", "content": [{"image": {"codes": [99] * 8}}]}]},
            "code 99 is out of range",
        ),
        ({"turns": [{"role": "user", "content": [{"image": {"codes": [1]}}]}]}, "it must have exactly 8"),
        ({"turns": [{"role": "user"}]}, "it lacks 'content'"),
        ({"options": {"colour": 1}}, "no option 'colour'"),
        ({"options": {"budget": -3}}, "a budget of -3 ids"),
        ({"options": {"budget": {"picture": 3}}}, "names the block 'picture'"),
        ({"options": {"guidance": [1]}}, "'list' object"),
        ({"asked": float("inf")}, "infinity"),
        ({"turns": [{"role": "user", "content": [{"image": {"codes": [1.5] * 8}}]}]}, "whole numbers"),
        (
            {"turns": [{"role": "user", "content": [_cloud([[1, 99], [1, 1]])]}]},
            "companion near of cloud is out of range",
        ),
    ],
)
def test_a_file_that_does_not_fit_leaves_what_was_said(
    sampler: Sampler, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    conversation = talk(sampler)
    told(conversation, "Draw.", first="image")
    conversation.save(tmp_path / "talk.json")
    facts = json.loads((tmp_path / "talk.json").read_text())
    (tmp_path / "talk.json").write_text(json.dumps({**facts, **change}))
    before = conversation.document().normal(sampler.vocabulary)
    with pytest.raises(ValueError, match="is no conversation that can be taken up") as caught:
        conversation.load(tmp_path / "talk.json")
    assert message in str(caught.value)
    assert same(conversation.document().normal(sampler.vocabulary), before)


def test_an_answer_that_is_broken_off_is_not_kept(sampler: Sampler) -> None:
    conversation = talk(sampler)
    next(conversation.say("Draw.", first="image"))
    assert conversation.turns == []
    assert conversation.asked == 0
    with pytest.raises(ValueError, match="nothing was said"):
        told(conversation, "")


def test_commands_steer_and_say_what_they_did(sampler: Sampler, tmp_path: Path) -> None:
    conversation = talk(sampler)
    assert command(conversation, "/help") == HELP
    assert command(conversation, "/force image") == "answers begin with image"
    assert told(conversation, "?")[0] == ("begin", "image")
    assert command(conversation, "/force") == "answers begin as the model chooses"
    assert command(conversation, "/forbid image sound cloud molecule pair") == (
        "answers hold no image, sound, cloud, molecule, pair"
    )
    assert {event[0] for event in told(conversation, "?")} <= {"text"}
    command(conversation, "/forbid")
    command(conversation, "/budget 12")
    assert conversation.options == {"budget": {"answer": 12}}
    command(conversation, "/budget")
    assert conversation.options == {"budget": 40}  # as at first
    assert (
        command(conversation, f"/save {tmp_path / 'a talk.json'}") == f"saved to {tmp_path / 'a talk.json'}"
    )
    assert command(conversation, "/reset") == "forgotten"
    assert not conversation.turns
    assert command(conversation, f"/load {tmp_path / 'a talk.json'}") == "taken up: 4 turns"
    command(conversation, "/seed 9")
    assert conversation.seed + conversation.asked == 9


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/draw", "no command /draw"),
        ("/force imag", "no block 'imag'"),
        ("/force image sound", "one block, not with 2"),
        ("/forbid imag", "no block 'imag'"),
        ("/budget many", "a budget is written"),
        ("/budget 10 20", "'20' gives answer a second budget"),
        ("/budget picture=3", "names the block 'picture'"),
        ("/budget 0", "a budget of 0 ids"),
        ("/save", "/save needs a file"),
        ("/seed x", "a seed is a whole number"),
    ],
)
def test_a_wrong_command_is_a_sentence(sampler: Sampler, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command(talk(sampler), line)


def test_options_are_checked_when_they_are_set(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="no option 'colour'"):
        talk(sampler, colour="red")
    with pytest.raises(ValueError, match="temperature"):
        talk(sampler, temperature=-1.0)
    with pytest.raises(ValueError, match="did you mean 'image'"):
        talk(sampler, guidance={"imag": 2.0})
    conversation = talk(sampler, first="image")
    with pytest.raises(ValueError, match="is to come first and is forbidden"):
        command(conversation, "/forbid image")
    assert conversation.options == {"budget": 40, "first": "image"}
    with pytest.raises(ValueError, match="no option 'colour'"):
        told(talk(sampler), "Draw.", colour="red")
    conversation = talk(sampler, first="image")
    assert told(conversation, "Draw.", first=None, forbid=["image"], budget=8)[0] != ("begin", "image")
    assert conversation.options["first"] == "image"


def _text(sampler: Sampler, words: str) -> Segment:
    modality: Modality = sampler.modalities["text"]
    return Segment("text", modality.encode([words])[0])


def test_budgets_and_previews_of_nested_items_hold_in_a_conversation() -> None:
    modalities = {"text": create("text.bytes"), "image": Plain("image", 16, (1, 8), nested=(1, 2, 4, 8))}
    vocabulary = Vocabulary.build(modalities)
    torch.manual_seed(0)
    sampler = Sampler(
        Decoder(ModelConfig.preset(1, vocab_size=len(vocabulary))).eval(), vocabulary, modalities
    )
    conversation = Conversation(sampler, 200)
    command(conversation, "/budget 60 image=4")
    events = told(conversation, "Draw.", first="image", previews={"image": (2,)})
    coarse = next(event for event in events if event[0] == "preview")
    [codes] = [part.codes.ids.tolist() for part in conversation.turns[-1][1][:1]]
    assert len(codes) == 4
    assert coarse == ("preview", "image", codes[:2], 2)


def test_a_terminal_gets_no_control_characters() -> None:
    assert printable("a\x1b[2J\x00é\n\tb\x85") == "a\ufffd[2J\ufffdé\n\tb\ufffd"
