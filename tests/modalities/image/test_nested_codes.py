"""Pictures whose first codes are coarser pictures: what the base makes of `ImageConfig.lengths`."""

from __future__ import annotations

import pytest
import torch
from nested_pictures import LENGTHS, Nested

import unitok
from unitok.grammar import Grammar
from unitok.modality import BadCodes, Codes
from unitok.testing import conforms


@pytest.fixture
def nested() -> Nested:
    return Nested(None)


def test_the_spec_tells_the_lengths(nested: Nested) -> None:
    assert nested.spec.length == (1, 8)
    assert nested.spec.nested == LENGTHS
    assert [nested.legal([0] * n).end for n in range(9)] == [n in LENGTHS for n in range(9)]
    assert [nested.shortest_end([0] * n) for n in range(9)] == [1, 0, 0, 1, 0, 3, 2, 1, 0]


def test_it_conforms(nested: Nested) -> None:
    conforms(nested, [torch.rand(3, 16, 16), torch.zeros(3, 16, 16)])


def test_a_budget_gives_the_first_codes_and_asks_for_no_more(nested: Nested) -> None:
    picture = torch.rand(3, 16, 16)
    whole = nested.encode([picture])[0]
    few = Nested(None, budget=7)
    assert few.encode([picture])[0].ids.equal(whole.ids[:4])
    assert few.net.asked == [4]  # type: ignore[attr-defined]
    assert few.spec.fingerprint == nested.spec.fingerprint
    assert nested.shorten(whole, 3).ids.equal(whole.ids[:2])
    assert nested.shorten(whole, 8) is whole
    with pytest.raises(ValueError, match="the shortest has 1"):
        Nested(None, budget=0)
    with pytest.raises(ValueError, match="the shortest has 1"):
        nested.shorten(whole, 0)


def test_codes_that_cannot_be_cut_say_so() -> None:
    plain = unitok.create("image.titok", weights=None, size=16, patch=8, tokens=4)
    codes = plain.encode([torch.rand(3, 16, 16)])[0]
    assert plain.shorten(codes, 4) is codes
    with pytest.raises(ValueError, match="cannot be cut"):
        plain.shorten(codes, 3)
    with pytest.raises(ValueError, match="the shortest has 4"):
        unitok.create("image.titok", weights=None, size=16, patch=8, tokens=4, budget=2)


def test_mixed_lengths_decode_each_as_alone(nested: Nested) -> None:
    codes = [Codes(torch.randint(5, (n,))) for n in (8, 1, 4, 8, 2)]
    shade = torch.linspace(0.2, 1, 5)
    made = nested.decode(codes, shade=shade)
    assert [picture.size[0] for picture in made] == [16, 2, 8, 16, 4]
    for i, each in enumerate(codes):
        (alone,) = nested.decode([each], shade=shade[i : i + 1])
        assert alone.tobytes() == made[i].tobytes()
    tensor = nested.decode_tensor([codes[0], codes[3]], shade=shade[[0, 3]])
    assert tensor.shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="4 sizes"):
        nested.decode_tensor(codes)


def test_other_lengths_are_refused(nested: Nested) -> None:
    with pytest.raises(BadCodes, match="a first 1 to 4 of them"):
        nested.decode([Codes(torch.zeros(3, dtype=torch.long))])


def test_latents_of_a_prefix_decode(nested: Nested) -> None:
    z = nested.latents([torch.rand(3, 16, 16)])
    assert nested.decode_tensor(z[:, :4]).shape == (1, 3, 8, 8)
    with pytest.raises(ValueError, match="latents are floats"):
        nested.decode_tensor(z[:, :3])


def test_the_grammar_closes_at_allowed_lengths_alone(nested: Nested) -> None:
    vocabulary = unitok.Vocabulary.build({"image": nested})
    grammar = Grammar.document(vocabulary, {"image": nested})
    block = vocabulary.block("image")
    for count in range(1, 9):
        ids = [vocabulary.mark("doc"), block.begin, *[block.start] * count, block.end, vocabulary.mark("end")]
        assert grammar.accepts(ids) is (count in LENGTHS)


def test_a_budget_is_told_to_what_keeps_codes(nested: Nested) -> None:
    assert Nested(None).encoding() == Nested(None, budget=8).encoding() == {}
    assert Nested(None, budget=5).encoding() == {"budget": 4}
    cloud = unitok.create("pointcloud.any2point", budget=16)
    assert (cloud.encoding(), unitok.create("pointcloud.any2point").encoding()) == ({"budget": 16}, {})
