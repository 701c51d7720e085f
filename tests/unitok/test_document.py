from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Plain, toys

from unitok import Codes, Document, Grammar, Segment, Side, Vocabulary
from unitok.document import TooLong, segment

MODALITIES = toys()
VOCABULARY = Vocabulary.build(MODALITIES)
TEXT = MODALITIES["text"]
IMAGE = segment(MODALITIES["image"], [1, 2, 3, 4])
MOLECULE = segment(MODALITIES["molecule"], [5, 6, 7])


def names(ids: torch.Tensor) -> list[str]:
    marks = {VOCABULARY.mark(m): m for m in (*Vocabulary.MARKS, "image", "/image", "molecule", "/molecule")}
    return [marks.get(int(i), "." if i < 100 else "#") for i in ids]


def chat() -> Document:
    return Document.chat(
        [
            ("system", [segment(TEXT, [1])]),
            ("user", [MOLECULE, segment(TEXT, [2, 3])]),
            ("assistant", [segment(TEXT, [4]), IMAGE]),
        ]
    )


def test_a_chat_has_loss_on_assistant_bodies_and_their_closing_mark_only():
    rendered = chat().render(VOCABULARY)
    assert names(rendered.ids) == (
        [
            "doc",
            "system",
            ".",
            "turn",
            "user",
            "molecule",
            "#",
            "#",
            "#",
            "/molecule",
            ".",
            ".",
            "turn",
            "assistant",
            ".",
            "image",
            "#",
            "#",
            "#",
            "#",
            "/image",
            "turn",
            "end",
        ]
    )
    first = names(rendered.ids).index("assistant") + 1
    assert rendered.weight.tolist() == [0.0] * first + [1.0] * 8 + [0.0]
    assert rendered.kind.tolist()[first : first + 3] == [1, 0, 2]


def test_a_plain_document_has_loss_by_weight_and_on_its_end():
    rendered = Document.of(segment(TEXT, [1, 2], weight=0.5), IMAGE).render(VOCABULARY)
    assert rendered.weight.tolist() == [0.0, 0.5, 0.5, *[1.0] * 6, 1.0]


def test_the_null_form_keeps_role_marks_and_drops_what_has_no_loss():
    nulled = chat().render(VOCABULARY).nulled()
    assert names(nulled.ids) == [
        "doc",
        "system",
        "turn",
        "user",
        "turn",
        "assistant",
        ".",
        "image",
        "#",
        "#",
        "#",
        "#",
        "/image",
        "turn",
        "end",
    ]
    assert nulled.side == {}


def test_companions_lie_on_their_positions_and_never_under_loss():
    rendered = chat().render(VOCABULARY)
    at, values = rendered.side["molecule_shell"]
    assert at.tolist() == [6, 7, 8]
    assert values.shape == (3, 2)
    written = Document.chat([("assistant", [MOLECULE])]).render(VOCABULARY)
    assert written.side == {}


def test_a_causal_channel_stays_under_loss():
    causal = Plain("cloud", 8, (1, 4), side={"height": Side("float", width=1, causal=True)})
    vocabulary = Vocabulary.build({"cloud": causal})
    rendered = Document.of(segment(causal, [1, 2])).render(vocabulary)
    assert rendered.side["cloud_height"][0].tolist() == [2, 3]


def test_a_prompt_ends_with_the_assistant_mark_and_holds_no_answer():
    document = chat()
    prompt = document.prompt(VOCABULARY)
    rendered = document.render(VOCABULARY)
    assert names(prompt.ids)[-1] == "assistant"
    assert prompt.ids.equal(rendered.ids[: len(prompt.ids)])
    answer = rendered.ids[len(prompt.ids) : -1]
    assert Grammar.answer(VOCABULARY, MODALITIES).accepts(answer)
    asked = Document(document.turns[:-1]).prompt(VOCABULARY)
    assert asked.ids.equal(prompt.ids)
    plain = Document.of(segment(TEXT, [1, 2])).prompt(VOCABULARY)
    assert names(plain.ids) == ["doc", ".", "."]


def test_an_unknown_role_is_named():
    with pytest.raises(ValueError, match="role 'bot' is unknown: use one of system, user, assistant"):
        Document.chat([("bot", [])])


@settings(deadline=None)
@given(st.lists(st.integers(0, 98), min_size=1, max_size=60), st.integers(10, 20), st.integers(0, 3))
def test_long_text_goes_on_in_further_documents_and_nothing_is_lost(letters, limit, images):
    document = Document.of(*[IMAGE] * images, segment(TEXT, letters), IMAGE)
    parts = document.fit(VOCABULARY, MODALITIES, limit)
    together = [s for part in parts for s in part.segments]
    assert all(len(part.render(VOCABULARY).ids) <= limit for part in parts)
    assert sum(s.name == "image" for s in together) == images + 1
    assert torch.cat([s.codes.ids for s in together if s.name == "text"]).tolist() == letters


@given(st.lists(st.sampled_from([[1], [99, 98]]), min_size=4, max_size=30), st.integers(5, 9))
def test_text_is_cut_only_where_it_may_end(pieces, limit):
    letters = [i for piece in pieces for i in piece]
    parts = Document.of(segment(TEXT, letters)).fit(VOCABULARY, MODALITIES, limit)
    assert all(part.segments[-1].codes.ids[-1] != 99 for part in parts)


def test_a_framed_span_that_does_not_fit_is_refused():
    long = Segment("molecule", Codes(torch.arange(20)))
    with pytest.raises(TooLong, match="a molecule span of 22 ids does not fit into 16"):
        Document.of(long).fit(VOCABULARY, MODALITIES, 16)


def test_a_long_chat_keeps_its_first_turns_whole():
    turns = [("user", [segment(TEXT, [1])]), ("assistant", [IMAGE])] * 3
    (short,) = Document.chat(turns).fit(VOCABULARY, MODALITIES, 28)
    assert [t.role for t in short.turns] == ["user", "assistant"] * 2
    with pytest.raises(TooLong, match="has no first exchange within 10"):
        Document.chat(turns).fit(VOCABULARY, MODALITIES, 10)


def test_an_empty_document_fits_where_its_marks_do():
    assert len(Document.of().fit(VOCABULARY, MODALITIES, 2)) == 1
    with pytest.raises(TooLong, match="2 marks, which do not fit into 1"):
        Document.of().fit(VOCABULARY, MODALITIES, 1)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_is_a_finite_number_of_at_least_0(weight):
    with pytest.raises(ValueError, match="is finite and at least 0"):
        Segment("text", Codes(torch.tensor([1])), weight)
