"""Documents whose nested items give way, so that the whole of them fits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import Plain, nested

from unitok import Codes, Document, Segment, Vocabulary

MODALITIES = nested()
VOCABULARY = Vocabulary.build(MODALITIES)


def image(length: int = 8) -> Segment:
    return Segment("image", Codes(torch.arange(length)))


def sound() -> Segment:
    return Segment(
        "sound", Codes(torch.zeros(6, 3, dtype=torch.long), {"near": torch.zeros(6, 2, dtype=torch.long)})
    )


def text(length: int) -> Segment:
    return Segment("text", Codes(torch.arange(length)))


def size(document: Document) -> int:
    return len(document.render(VOCABULARY).ids)


@given(st.lists(st.sampled_from(["image", "sound", "text"]), min_size=1, max_size=6), st.integers(1, 120))
def test_a_document_fits_or_its_items_are_as_short_as_can_be(parts: list[str], limit: int) -> None:
    document = Document.of(*[{"image": image(), "sound": sound(), "text": text(5)}[part] for part in parts])
    found = document.within(VOCABULARY, MODALITIES, limit, ["image", "sound"])
    assert [s.name for s in found.segments] == parts
    for one, two in zip(found.segments, document.segments, strict=True):
        kept = len(one.codes)
        assert one.codes.ids.equal(two.codes.ids[:kept])
        assert one.name == "text" or kept in MODALITIES[one.name].spec.nested
        assert all(len(channel) == kept for channel in one.codes.side.values())
    if size(document) <= limit:
        assert found is document
    elif size(found) > limit:
        assert all(len(s.codes) == 1 for s in found.segments if s.name != "text")


def test_twelve_pictures_in_512_positions() -> None:
    fine = Plain("image", 20, (1, 256), nested=tuple(range(1, 257)))
    modalities = {**MODALITIES, "image": fine}
    vocabulary = Vocabulary.build({"text": MODALITIES["text"], "image": fine})
    album = Document.of(*[Segment("image", Codes(torch.zeros(256, dtype=torch.long))) for _ in range(12)])
    found = album.within(vocabulary, modalities, 512, ["image"])
    lengths = [len(s.codes) for s in found.segments]
    assert len(found.render(vocabulary).ids) == 512
    assert max(lengths) - min(lengths) <= 1


def test_the_longest_gives_way_first() -> None:
    document = Document.of(image(2), image(8), text(3))
    found = document.within(VOCABULARY, MODALITIES, size(document) - 4, ["image"])
    assert [len(s.codes) for s in found.segments] == [2, 4, 3]


def test_roles_weights_and_keys_stay() -> None:
    document = Document.chat([("user", [image(), text(4)]), ("assistant", [image()])], key="k")
    found = document.within(VOCABULARY, MODALITIES, 25, ["image"])
    assert size(found) <= 25
    assert found.key == "k"
    assert [turn.role for turn in found.turns] == ["user", "assistant"]
    assert [s.weight for s in found.segments] == [0, 0, 1]


def test_blocks_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be cut"):
        Document.of(text(9)).within(VOCABULARY, MODALITIES, 4, ["text"])
