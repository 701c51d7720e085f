from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import toys

from unitok import BadCodes, Codes, Document, Mark, Segment, Spec, Vocabulary
from unitok.segment import same
from unitok.vocabulary import RESERVED, VocabularyMismatch

SPECS = {name: modality.spec for name, modality in toys().items()}
VOCABULARY = Vocabulary.build(SPECS)


def test_text_lies_at_0_and_starts_are_aligned():
    assert VOCABULARY.blocks["text"].start == 0
    assert VOCABULARY.marks_start == 128
    assert [b.start for b in VOCABULARY.blocks.values()][1:] == [384, 448, 512]
    assert len(VOCABULARY) == 640
    assert VOCABULARY.kinds == ("mark", "text", "image", "cloud", "molecule")


def test_text_comes_first_in_whatever_order_it_is_named():
    turned = Vocabulary.build(dict(reversed(SPECS.items())))
    assert turned.blocks["text"].start == 0
    assert next(iter(turned.blocks)) == "text"


def test_extending_moves_no_id():
    small = Vocabulary.build({name: SPECS[name] for name in ("text", "image")})
    large = small.extend({name: SPECS[name] for name in ("cloud", "molecule")})
    assert large == VOCABULARY
    for name, block in small.blocks.items():
        assert large.blocks[name] == block
    assert all(large.mark(m) == small.mark(m) for m in Vocabulary.MARKS)


def test_extending_refuses_a_taken_name_and_a_second_text():
    with pytest.raises(ValueError, match="'image' exists already"):
        VOCABULARY.extend({"image": SPECS["image"]})
    with pytest.raises(ValueError, match="can only be there from the start"):
        VOCABULARY.extend({"words": dataclasses.replace(SPECS["text"], name="words")})
    with pytest.raises(ValueError, match="has the name of a mark"):
        VOCABULARY.extend({"user": Spec("user", 4, (1, 1), "x")})


def test_marks_run_out_with_a_clear_error():
    many = {f"m{i}": Spec(f"m{i}", 1, (1, 1), "x") for i in range(RESERVED // 2)}
    with pytest.raises(ValueError, match="no marks left for block 'm124'"):
        Vocabulary.build(many)


def test_saving_and_loading_keeps_everything(tmp_path):
    VOCABULARY.save(tmp_path)
    again = Vocabulary.load(tmp_path)
    assert again == VOCABULARY
    assert again.fingerprint == VOCABULARY.fingerprint
    assert again.channels == VOCABULARY.channels == {"molecule_shell": SPECS["molecule"].side["shell"]}


def test_another_tokenizer_is_refused_and_both_fingerprints_named():
    VOCABULARY.check(toys())
    changed = {**SPECS, "image": dataclasses.replace(SPECS["image"], fingerprint="other")}
    assert Vocabulary.build(changed).fingerprint != VOCABULARY.fingerprint
    with pytest.raises(VocabularyMismatch, match=r"'image'.*'other' against the recorded 'image-20'"):
        VOCABULARY.check(changed)
    with pytest.raises(VocabularyMismatch, match="'cloud' has no modality"):
        VOCABULARY.check({n: s for n, s in SPECS.items() if n != "cloud"})


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    spec = SPECS[draw(st.sampled_from(sorted(SPECS)))]
    lo, hi = spec.length
    n = draw(st.integers(lo, hi or lo + 8))
    if spec.parts:
        row = st.tuples(*(st.integers(0, p - 1) for p in spec.parts))
        ids = torch.tensor(draw(st.lists(row, min_size=n, max_size=n)))
    else:
        ids = torch.tensor(draw(st.lists(st.integers(0, spec.size - 1), min_size=n, max_size=n)))
    return Segment(spec.name, Codes(ids), draw(st.sampled_from([0.0, 1.0, 2.5])))


@given(segments())
def test_parse_undoes_frame(segment):
    ids = VOCABULARY.frame(segment.name, segment.codes)
    assert same(VOCABULARY.parse(ids), [segment])


@given(st.lists(segments(), max_size=6))
def test_parse_undoes_render(parts):
    document = Document.of(*parts)
    assert same(VOCABULARY.parse(document.render(VOCABULARY).ids), document.normal(VOCABULARY))


@given(st.lists(st.integers(0, len(VOCABULARY) - 1), max_size=12))
def test_parse_of_any_ids_gives_them_back_or_names_an_error(ids):
    try:
        parsed = VOCABULARY.parse(ids)
    except BadCodes:
        return
    back: list[int] = []
    for part in parsed:
        if isinstance(part, Mark):
            back.append(VOCABULARY.mark(part.name))
        else:
            back += VOCABULARY.frame(part.name, part.codes).tolist()
    assert back == ids


@pytest.mark.parametrize(
    ("ids", "rule"),
    [
        ([400], "stands outside a span"),
        ([136, 384, 385], "truncated: its end mark is missing"),
        ([136, 384, 137], "image body has 1 positions: it must have exactly 4"),
        ([137], "closes a span that was never opened"),
        ([136, 384, 3, 137], "inside a image span is not one of its codes"),
        ([138, 448, 456, 449, 139], "a position takes 2, so one is cut"),
        ([110], "belongs to no block"),
        ([640], "outside the vocabulary of 640 ids"),
    ],
)
def test_malformed_streams_are_named(ids, rule):
    with pytest.raises(BadCodes, match=rule):
        VOCABULARY.parse(ids)


def test_codes_out_of_range_or_of_a_wrong_shape_are_named():
    with pytest.raises(BadCodes, match="image code 20 is out of range"):
        VOCABULARY.frame("image", Codes(torch.tensor([0, 1, 2, 20])))
    with pytest.raises(BadCodes, match=r"shape \[4, 1\]: they must be \[n\]"):
        VOCABULARY.frame("image", Codes(torch.zeros(4, 1, dtype=torch.int64)))
    with pytest.raises(BadCodes, match="cloud code 4 is out of range"):
        VOCABULARY.frame("cloud", Codes(torch.tensor([[0, 0], [7, 4]])))


def test_kinds_of_marks_blocks_and_gaps():
    ids = torch.tensor([0, 99, 100, 128, 136, 137, 384, 403, 404, 512])
    assert VOCABULARY.kind_of(ids).tolist() == [1, 1, 255, 0, 0, 0, 2, 2, 255, 4]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["blocks"][1].update(start=448),
        lambda data: data["blocks"][1].update(fingerprint="another"),
        lambda data: data["marks"].update(user=7),
        lambda data: data.update(size=1 << 40),
        lambda data: data.pop("fingerprint"),
        lambda data: data.pop("blocks"),
        lambda data: data.update(extra=1),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path, change):
    VOCABULARY.save(tmp_path)
    data = json.loads((tmp_path / "unitok.json").read_text())
    change(data)
    (tmp_path / "unitok.json").write_text(json.dumps(data))
    with pytest.raises(VocabularyMismatch, match="it was changed; take the unitok.json"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, "\0"])
def test_a_file_that_is_no_vocabulary_is_one_sentence(tmp_path, text):
    (tmp_path / "unitok.json").write_text(text)
    with pytest.raises(ValueError, match="is no vocabulary .*take the unitok.json"):
        Vocabulary.load(tmp_path)


def test_a_tokenizer_with_other_companions_is_refused():
    other = dataclasses.replace(SPECS["molecule"], side={})
    with pytest.raises(VocabularyMismatch, match="block 'molecule' was made by another tokenizer: side"):
        VOCABULARY.check({**SPECS, "molecule": other})
