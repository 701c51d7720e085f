from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from data_toys import Formula, Latin, Picture
from hypothesis import given
from hypothesis import strategies as st

from unitok.data.config import SourceConfig
from unitok.data.sources import Record
from unitok.data.template import MissingField, TemplateError, compile_forms, drafts, own_form
from unitok.vocabulary import Vocabulary

VOCABULARY = Vocabulary.build({"text": Latin(), "image": Picture(), "molecule": Formula()})


def forms(**table):
    source = SourceConfig.model_validate(
        {"path": "x", "fields": {"image": "image", "caption": "text"}, **table}
    )
    return compile_forms("s", source, VOCABULARY)


def record(**fields):
    return Record("k", fields, "f:1", Path())


def made(form, record, limit=1, count=lambda block, value: 1):
    return drafts(form, record, "text", limit, count)


def texts(draft):
    return [[part.value for part in parts] for _, parts in draft.turns]


def test_text_is_joined_around_fields_of_text():
    (form,) = forms(plain=["A {caption}, in {{braces}}: {image}!"])
    (draft,) = made(form, record(caption="cat", image={"file": "c.png"}))
    assert texts(draft) == [["A cat, in {braces}: ", {"file": "c.png"}, "!"]]


def test_a_file_of_text_is_a_part_of_its_own():
    (form,) = forms(plain=["A {caption}."])
    (draft,) = made(form, record(caption={"file": "c.txt"}))
    assert texts(draft) == [["A ", {"file": "c.txt"}, "."]]


def test_values_are_not_templates():
    (form,) = forms(plain=["{caption}"])
    (draft,) = made(form, record(caption="{image} {{ }"))
    assert texts(draft) == [["{image} {{ }"]]


def test_a_chat_keeps_roles_and_may_repeat_them():
    told = [
        {"system": "Be brief.", "user": "{image}"},
        {"assistant": "{caption}"},
        {"user": "More?"},
        {"assistant": "No."},
    ]
    (form,) = forms(chat=[told])
    (draft,) = made(form, record(caption="cat", image="x"))
    assert [role for role, _ in draft.turns] == ["system", "user", "assistant", "user", "assistant"]
    assert form.name == "chat.0"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"plain": ["{captoin}"]},
            "names the field 'captoin', which `fields` does not give a block: did you mean 'caption'",
        ),
        ({"plain": ["{zzz}"]}, "there are 'image', 'caption'"),
        (
            {"fields": {"image": "imgae"}},
            "goes to block 'imgae', which the vocabulary does not have: did you mean 'image'",
        ),
        ({"chat": [{"asistant": "x"}]}, "unknown role 'asistant': did you mean 'assistant'"),
        ({"chat": [{"user": "{image}"}]}, "chat template 0 has no assistant turn"),
        (
            {"chat": [{"user": "{image}", "assistant": "{caption:given}"}]},
            "no assistant turn, or only given ones",
        ),
        ({"plain": ["{image}", ""]}, "plain template 1 is empty"),
        ({"plain": ["a { b"]}, "lone brace"),
        ({"plain": ["a } b"]}, "lone brace"),
        ({"plain": ["{}"]}, "names the field ''"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_in_one_sentence(table, message):
    with pytest.raises(TemplateError) as caught:
        forms(**table)
    assert message in str(caught.value)
    assert str(caught.value).startswith("source 's'")
    assert "\n" not in str(caught.value)


def test_text_in_a_template_needs_a_text_block():
    silent = Vocabulary.build({"image": Picture()})
    source = SourceConfig(path="x", fields={"i": "image"}, plain=["see {i}"])
    with pytest.raises(TemplateError, match="no text block"):
        compile_forms("s", source, silent)


def test_an_absent_field_is_named():
    (form,) = forms(plain=["{caption}"])
    for fields in ({}, {"caption": None}, {"caption": ""}, {"caption": []}):
        with pytest.raises(MissingField, match="'caption'"):
            made(form, record(**fields))


def test_as_many_documents_as_the_richest_field_has_choices():
    (form,) = forms(plain=["{caption}{image}"])
    many = record(caption=["a", "b", "c"], image="x")
    assert len(made(form, many, limit=8)) == 3
    assert len(made(form, many, limit=2)) == 2
    assert len(made(form, many, limit=8, count=lambda block, value: 6 if block == "image" else 1)) == 6
    assert [part.variant for d in made(form, many, limit=3) for part in d.parts if part.block == "image"] == [
        0,
        1,
        2,
    ]
    assert len(made(form, record(caption="a", image="x"), limit=8)) == 1


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.text(), st.integers(1, 4))
def test_drawn_strings_are_of_the_list_none_twice_and_always_the_same(choices, key, limit):
    (form,) = forms(plain=["{caption}"])
    one = Record(key, {"caption": choices}, "f:1", Path())
    first, again = made(form, one, limit), made(form, one, limit)
    assert first == again
    drawn = [draft.parts[0].value for draft in first]
    assert len(drawn) == min(limit, len(choices))
    assert not Counter(drawn) - Counter(choices)


def test_draws_differ_between_records_and_variants():
    (form,) = forms(plain=["{caption}"])
    choices = [str(i) for i in range(10)]
    drawn = {
        made(form, Record(str(key), {"caption": choices}, "f:1", Path()), 2)[variant].parts[0].value
        for key in range(20)
        for variant in range(2)
    }
    assert len(drawn) > 5


def test_own_forms():
    form, filled = own_form(record(document=[{"text": "a"}, {"molecule": "CCO"}]), VOCABULARY)
    assert texts(*made(form, filled)) == [["a", "CCO"]]
    assert form.turns[0][0] is None
    turns = [{"role": "user", "content": [{"image": {"file": "x"}}]}, {"role": "assistant", "content": "yes"}]
    form, filled = own_form(record(turns=turns), VOCABULARY)
    assert texts(*made(form, filled)) == [[{"file": "x"}], ["yes"]]


def test_all_values_of_a_list_stand_in_order():
    (form,) = forms(plain=["{image:all}{caption}"])
    frames = [{"file": f"{i}.png"} for i in range(3)]
    made_of = made(form, record(image=frames, caption=["a", "b"]), limit=8)
    assert len(made_of) == 2  # captions are a choice, frames are not
    for draft in made_of:
        assert texts(draft)[0][:3] == frames
    one = made(form, record(image={"file": "x.png"}, caption="a"))
    assert texts(one[0]) == [[{"file": "x.png"}, "a"]]


def test_what_is_given_has_no_loss_nor_has_the_text_of_its_template():
    (form,) = forms(plain=["Change: {image:given} to {caption}"])
    (draft,) = made(form, record(image={"file": "a.png"}, caption="cat"))
    assert [(part.value, part.given) for part in draft.parts] == [
        ("Change: ", True),
        ({"file": "a.png"}, True),
        (" to ", True),
        ("cat", False),
    ]


def test_both_ways_can_be_said_at_once_and_a_field_with_a_colon_is_itself():
    (form,) = forms(plain=["{image:all:given}{caption}"])
    (draft,) = made(form, record(image=["a", "b"], caption="c"))
    assert [(part.value, part.given) for part in draft.parts] == [("a", True), ("b", True), ("c", False)]
    (form,) = forms(fields={"a:all": "text"}, plain=["{a:all}"])
    assert len(made(form, record(**{"a:all": ["x", "y"]}), limit=4)) == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"plain": ["{image:al}"]}, "says image:al: did you mean 'all'"),
        ({"plain": ["{image:given}{caption:given}"]}, "gives all of its fields, so no loss"),
        ({"plain": ["{image}"], "shares": [1.0, 2.0]}, "2 shares for 1 templates"),
        ({"plain": ["{image}"], "shares": [0.0]}, "one above 0"),
    ],
)
def test_what_is_wrong_with_a_way_or_a_share_is_said(table, message):
    with pytest.raises(TemplateError) as caught:
        forms(**table)
    assert message in str(caught.value)


def test_a_record_of_its_own_form_may_give_parts():
    parts = [{"image": {"file": "a.png"}, "given": True}, {"text": "bigger", "given": True}, {"image": "b"}]
    form, record_ = own_form(record(document=parts), VOCABULARY)
    (draft,) = made(form, record_)
    assert [part.given for part in draft.parts] == [True, True, False]
    for wrong in ([{"text": "a", "given": True}], [{"text": "a", "given": "yes"}], [{"given": True}]):
        with pytest.raises(ValueError, match="given"):
            own_form(record(document=wrong), VOCABULARY)
