"""Budgets by block: items of a chosen length, coarser previews on the way, and pictures that are gone on with."""

from __future__ import annotations

import pytest
import torch
from toys import nested

from unitok import BadCodes, Codes, Document, Grammar, Mark, Segment, Vocabulary
from unitok.generate import Sampler
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder


@pytest.fixture(params=[False, True], ids=["flat", "stacked"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    modalities = nested()
    vocabulary = Vocabulary.build(modalities, ["sound"] if request.param else [])
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=len(vocabulary), width=32, layers=2, heads=2, kv_heads=1, head_dim=16, hidden=48,
        channels=vocabulary.channels, stacks=vocabulary.stacks,
    )  # fmt: skip
    return Sampler(Decoder(config).eval(), vocabulary, modalities)


def asked(*more: tuple[str, list[Segment]]) -> Document:
    return Document.chat([("user", [Segment("text", Codes(torch.tensor([1, 2, 3])))]), *more])


def spans(row: list[Segment | Mark], name: str) -> list[Codes]:
    return [part.codes for part in row if isinstance(part, Segment) and part.name == name]


@pytest.mark.parametrize(("most", "length"), [(1, 1), (3, 2), (4, 4), (7, 4), (8, 8), (100, 8)])
def test_every_item_gets_what_the_budget_allows(sampler: Sampler, most: int, length: int) -> None:
    budget = {"image": most, "sound": 4, "answer": 80}
    rows = sampler.generate([asked()] * 24, budget=budget, first="image", seed=3)
    images = [codes for row in rows for codes in spans(row, "image")]
    sounds = [codes for row in rows for codes in spans(row, "sound")]
    assert len(images) >= 24
    assert sounds
    assert {len(codes) for codes in images} == {length}
    assert {len(codes) for codes in sounds} == {4}
    grammar = Grammar.answer(sampler.vocabulary, sampler.modalities)
    for row in rows:
        ids = Document.of(*row[:-1]).render(sampler.vocabulary).serial[1:-1]
        assert grammar.accepts([*ids.tolist(), sampler.vocabulary.mark("turn")])


def test_without_a_budget_lengths_vary_over_the_allowed_ones(sampler: Sampler) -> None:
    rows = sampler.generate([asked()] * 60, budget=24, first="image", seed=1)
    lengths = {len(codes) for row in rows for codes in spans(row, "image")}
    assert {1, 2} < lengths <= {1, 2, 4, 8}


def test_an_answer_too_short_for_the_item_is_refused(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="it needs at least 11"):
        sampler.generate([asked()], budget={"image": 8, "answer": 10}, first="image")
    assert sampler.generate([asked()], budget={"image": 8, "answer": 11}, first="image")


def test_blocks_without_nested_codes_have_no_budget(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="cannot be cut"):
        sampler.generate([asked()], budget={"text": 3})
    with pytest.raises(ValueError, match="there are text, image, sound"):
        sampler.generate([asked()], budget={"picture": 3})


def test_a_preview_refines_without_starting_over(sampler: Sampler) -> None:
    """The first codes stay; what follows is what the model would have written after them anyway."""
    for name in ("image", "sound"):
        whole = sampler.generate([asked()], budget={name: 8, "answer": 60}, first=name, temperature=0)[0]
        few = sampler.generate([asked()], budget={name: 2, "answer": 60}, first=name, temperature=0)[0]
        (first,), wanted = spans(few, name)[:1], spans(whole, name)[0]
        assert first.ids.equal(wanted.ids[:2])
        # Companions cannot accompany what carries loss, so the sound stands here as it was written: without them.
        begun = asked(("assistant", [Segment(name, Codes(first.ids))])).prompt(
            sampler.vocabulary, unfinished=True
        )
        more = sampler.generate([begun], budget={name: 8, "answer": 60}, temperature=0)[0]
        assert spans(more, name)[0].ids.equal(wanted.ids)
        ids = begun.serial  # bare ids are gone on with, too
        assert spans(sampler.generate([ids], budget={name: 8, "answer": 60}, temperature=0)[0], name)[
            0
        ].ids.equal(wanted.ids)


def test_a_span_that_has_enough_already_closes_at_the_next_chance(sampler: Sampler) -> None:
    begun = asked(("assistant", [Segment("image", Codes(torch.tensor([5, 6, 7, 8])))]))
    prompt = begun.prompt(sampler.vocabulary, unfinished=True)
    row = sampler.generate([prompt], budget={"image": 2, "answer": 30})[0]
    assert spans(row, "image")[0].ids.tolist() == [5, 6, 7, 8]


def test_a_span_that_cannot_be_ended_in_time_is_refused(sampler: Sampler) -> None:
    begun = asked(("assistant", [Segment("image", Codes(torch.tensor([5, 6])))]))
    prompt = begun.prompt(sampler.vocabulary, unfinished=True)
    with pytest.raises(BadCodes, match="needs at least 8"):
        sampler.generate([prompt], budget={"image": 8, "answer": 7})
    assert sampler.generate([prompt], budget={"image": 8, "answer": 8})


def test_previews_are_the_items_of_the_first_codes(sampler: Sampler) -> None:
    options = {"budget": {"image": 8, "answer": 40}, "first": "image", "forbid": ["text"], "seed": 2}
    events = list(sampler.stream(asked(), previews={"image": (1, 4)}, **options))
    codes: list[int] = []
    told = []
    for event in events:
        if event[0] == "codes" and event[1] == "image":
            codes += event[2].tolist()
        elif event[0] == "preview":
            told.append((event[1], event[3]))
            assert event[2] == codes[-event[3] :]
        elif event[0] == "end":
            codes = []
    assert told[:2] == [("image", 1), ("image", 4)]
    with pytest.raises(ValueError, match="no image has 3 codes"):
        next(sampler.stream(asked(), previews={"image": (3,)}))
    with pytest.raises(ValueError, match="cannot be cut"):
        next(sampler.stream(asked(), previews={"text": (3,)}))


def test_a_stream_goes_on_with_an_unfinished_span(sampler: Sampler) -> None:
    begun = asked(("assistant", [Segment("image", Codes(torch.tensor([5, 6])))]))
    prompt = begun.prompt(sampler.vocabulary, unfinished=True)
    events = list(sampler.stream(prompt, budget={"image": 8, "answer": 20}, forbid=["text"], seed=4))
    assert [event[0] for event in events[:7]] == ["codes"] * 6 + ["end"]
    assert events[6][2][:2] == [5, 6]
    assert len(events[6][2]) == 8


def test_unfinished_prompts_of_plain_documents_and_of_text(sampler: Sampler) -> None:
    vocabulary = sampler.vocabulary
    plain = Document.of(Segment("image", Codes(torch.tensor([5, 6]))))
    assert plain.prompt(vocabulary, unfinished=True).ids.tolist()[-1] == vocabulary.block("image").start + 6
    row = sampler.generate([plain.prompt(vocabulary, unfinished=True)], budget={"image": 4, "answer": 9})[0]
    assert spans(row, "image")[0].ids.tolist()[:2] == [5, 6]
    said = asked(("assistant", [Segment("text", Codes(torch.tensor([9])))]))
    assert said.prompt(vocabulary, unfinished=True).ids.tolist()[-1] == 9


def test_options_against_an_unfinished_span_are_refused(sampler: Sampler) -> None:
    begun = asked(("assistant", [Segment("image", Codes(torch.tensor([5, 6])))]))
    prompt = begun.prompt(sampler.vocabulary, unfinished=True)
    budget = {"image": 8, "answer": 30}
    for options in ({"first": "sound"}, {"forbid": ["image"]}, {"produce": ["text"]}):
        with pytest.raises(ValueError, match="ends within a span of 'image'"):
            sampler.generate([asked(), prompt], budget=budget, **options)
    with pytest.raises(ValueError, match="its null prompt does not"):
        sampler.generate([prompt], nulls=[asked()], budget=budget, guidance={"image": 2.0})
    # What is there already needs no room: 6 more codes, the end of the image and that of the turn.
    row = sampler.generate([prompt], budget={"image": 8, "answer": 8}, first="image")[0]
    assert spans(row, "image")[0].ids.tolist()[:2] == [5, 6]


def test_a_code_outside_of_a_span_is_no_prompt(sampler: Sampler) -> None:
    block, start = sampler.vocabulary.block("image"), asked().prompt(sampler.vocabulary).ids.tolist()
    closed = [block.begin, block.start, block.end]
    for ids in ([*start, block.start + 3], [*start, *closed, block.start + 3]):
        with pytest.raises(BadCodes, match="a code of image that stands in no span"):
            sampler.generate([torch.tensor(ids)])
        with pytest.raises(BadCodes, match="a code of image that stands in no span"):
            next(sampler.stream(torch.tensor(ids)))


def test_only_an_answer_is_left_unfinished(sampler: Sampler) -> None:
    vocabulary = sampler.vocabulary
    for document, role in ((asked(), "'user'"), (Document(()), "'nobody'")):
        with pytest.raises(ValueError, match=f"the last turn is of {role}"):
            document.prompt(vocabulary, unfinished=True)


def test_an_unfinished_span_is_in_the_null_form_whatever_its_weight(sampler: Sampler) -> None:
    vocabulary = sampler.vocabulary
    for name, codes in (("image", torch.tensor([5, 6])), ("sound", torch.tensor([[1, 2, 3]]))):
        given = [Segment("text", Codes(torch.tensor([4])), 0.0), Segment(name, Codes(codes), 0.0)]
        for document in (Document.of(*given), asked(("assistant", given))):
            null = document.prompt(vocabulary, unfinished=True).nulled()
            body = vocabulary.flat(name, Codes(codes)) + vocabulary.block(name).start
            assert null.serial[-len(body) :].equal(body)
            assert 4 not in null.ids.tolist()
        budget = {name: 4, "answer": 40}
        prompt = Document.of(*given).prompt(vocabulary, unfinished=True)
        assert sampler.generate([prompt], budget=budget, guidance={name: 3.0})
