from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import toys

from unitok import Document, Vocabulary
from unitok.document import segment
from unitok.eval.bodies import Stream, bodies

MODALITIES = toys()
VOCABULARY = Vocabulary.build(MODALITIES)
TEXT = [1, 2, 3]
ITEMS = {"text": TEXT, "image": [4, 3, 2, 1], "cloud": [[1, 0], [7, 3]], "molecule": [9]}


def seg(name, item=None):
    return segment(MODALITIES[name], ITEMS[name] if item is None else item)


def stream(*documents, source=None):
    rendered = [document.render(VOCABULARY) for document in documents]
    columns = [[r.ids.numpy() for r in rendered], [r.weight.numpy() for r in rendered]]
    return Stream.of(*columns, source=source or [0] * len(documents))


def test_marks_and_prompts_are_left_out_and_parts_are_in_their_own_range():
    chat = Document.chat([("user", [seg("image"), seg("text")]), ("assistant", [seg("cloud"), seg("text")])])
    found = bodies(VOCABULARY, stream(chat))
    assert {name: b.items for name, b in found.items()} == {"text": 1, "image": 0, "cloud": 1, "molecule": 0}
    assert found["cloud"].code.tolist() == [1, 0, 7, 3]
    assert found["cloud"].part.tolist() == [0, 1, 0, 1]
    assert found["cloud"].position.tolist() == [0, 1, 2, 3]
    assert found["text"].code.tolist() == TEXT


def test_positions_start_anew_in_each_segment_and_document():
    a = Document.of(seg("text"), seg("image"), seg("text", [5]))
    b = Document.of(seg("text", [6, 7]), seg("image"), seg("image"))
    found = bodies(VOCABULARY, stream(a, b, source=[0, 3]))
    assert found["text"].position.tolist() == [0, 1, 2, 0, 0, 1]
    assert found["text"].source.tolist() == [0, 0, 0, 0, 3, 3]
    assert found["image"].position.tolist() == [0, 1, 2, 3] * 3
    assert (found["text"].items, found["image"].items) == (3, 3)


def test_neighbouring_images_are_two_items_and_neighbouring_text_is_one():
    found = bodies(VOCABULARY, stream(Document.of(seg("image"), seg("image"), seg("text"), seg("text"))))
    assert (found["image"].items, found["text"].items) == (2, 1)


def test_at_points_into_the_stream():
    laid = stream(Document.of(seg("text"), seg("cloud")), Document.of(seg("molecule")))
    for name, b in bodies(VOCABULARY, laid).items():
        block = VOCABULARY.blocks[name]
        offsets = np.cumsum([0, *block.parts])[: block.stride]
        assert (laid.ids[b.at] == b.code + offsets[b.part] + block.start).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from(sorted(ITEMS)), min_size=1, max_size=5), min_size=1, max_size=6))
def test_every_supervised_token_is_a_mark_or_a_body_code_once(shapes):
    laid = stream(*(Document.of(*(seg(name) for name in shape)) for shape in shapes))
    seen = np.concatenate([b.at for b in bodies(VOCABULARY, laid).values()])
    marks = np.flatnonzero((VOCABULARY.kind_of(laid.ids) == 0) & (laid.weight > 0))
    assert sorted([*seen, *marks]) == np.flatnonzero(laid.weight > 0).tolist()


def test_no_document_is_no_code():
    assert all(b.items == 0 for b in bodies(VOCABULARY, Stream.of([], [], [])).values())
