"""The stacked layout keeps the laws of the flat one, whatever stands beside it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import STACKED, parted

from unitok import BadCodes, Codes, Document, Grammar, Segment, Vocabulary
from unitok.document import segment
from unitok.segment import same
from unitok.stacking import serial

MODALITIES = parted()
FLAT = Vocabulary.build(MODALITIES)
STACK = Vocabulary.build(MODALITIES, stacked=STACKED)
MIXED = Vocabulary.build(MODALITIES, stacked=["sound"])


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    name = draw(st.sampled_from(sorted(MODALITIES)))
    spec = MODALITIES[name].spec
    lo, hi = spec.length
    n = draw(st.integers(lo, hi or lo + 6))
    weight = draw(st.sampled_from([0.0, 1.0, 2.5]))
    if name == "pair":
        first = torch.tensor([*draw(st.lists(st.integers(0, 5), min_size=n - 1, max_size=n - 1)), 0])
        return Segment(name, Codes(torch.stack([first, (first + 1) % 6], dim=1)), weight)
    if name == "text":
        return Segment(
            name, Codes(torch.tensor(draw(st.lists(st.integers(0, 97), min_size=n, max_size=n)))), weight
        )
    row = st.tuples(*(st.integers(0, p - 1) for p in spec.parts or (spec.size,)))
    ids = torch.tensor(draw(st.lists(row, min_size=n, max_size=n)))
    side = {name: torch.randint(-1, s.size, (n, s.width)) for name, s in spec.side.items()}
    return Segment(name, Codes(ids if spec.parts else ids[:, 0], side), weight)


documents = st.one_of(
    st.lists(segments(), max_size=5).map(lambda parts: Document.of(*parts)),
    st.lists(
        st.tuples(st.sampled_from(["user", "assistant"]), st.lists(segments(), max_size=3)),
        min_size=1,
        max_size=3,
    ).map(Document.chat),
)


@pytest.mark.parametrize("vocabulary", [STACK, MIXED])
@settings(deadline=None)
@given(documents)
def test_parse_undoes_render_and_the_serial_form_is_the_flat_layout(vocabulary, document):
    rendered, flat = document.render(vocabulary), document.render(FLAT)
    assert same(rendered.parse(vocabulary), document.normal(vocabulary))
    assert same(vocabulary.parse(rendered.ids, rendered.more), document.normal(vocabulary))
    assert rendered.serial.equal(flat.ids)
    ids, more = vocabulary.fold(flat.ids)
    assert ids.equal(rendered.ids)
    assert more is not None
    assert more.equal(rendered.more)


@settings(deadline=None)
@given(documents)
def test_every_column_says_the_same_in_both_layouts(document):
    stacked, flat = document.render(STACK), document.render(FLAT)
    codes = 1 + (stacked.more >= 0).sum(1)
    for name in ("weight", "kind", "null"):
        assert getattr(stacked, name).repeat_interleave(codes).equal(getattr(flat, name)), name
    assert stacked.nulled().serial.equal(flat.nulled().ids)
    assert stacked.until(3).more.equal(stacked.more[:3])
    # A companion stands at its position in one layout and at the position's first part in the other.
    first = codes.cumsum(0) - codes
    assert stacked.side.keys() == flat.side.keys()
    for name, (at, values) in stacked.side.items():
        assert first[at].equal(flat.side[name][0])
        assert values.equal(flat.side[name][1])


@settings(deadline=None)
@given(documents)
def test_the_grammar_accepts_every_document_and_its_answers(document):
    rendered = document.render(STACK)
    assert Grammar.document(STACK, MODALITIES).accepts(rendered.serial)
    if len(rendered.ids) > 3 and rendered.more.max() >= 0:
        assert not Grammar.document(STACK, MODALITIES).accepts(rendered.ids)


def test_a_stacked_document_is_shorter_by_the_stride():
    cloud = segment(MODALITIES["cloud"], [[7, 3], [0, 1], [2, 2]])
    sound = segment(MODALITIES["sound"], [[5, 4, 3]] * 4)
    image = segment(MODALITIES["image"], [1, 2, 3, 4])
    document = Document.of(cloud, sound, image)
    assert len(document.render(FLAT).ids) == 2 + (2 + 6) + (2 + 12) + (2 + 4)
    assert len(document.render(STACK).ids) == 2 + (2 + 3) + (2 + 4) + (2 + 4)
    assert len(document.render(MIXED).ids) == 2 + (2 + 6) + (2 + 4) + (2 + 4)
    assert len(document.fit(STACK, MODALITIES, 19)) == 1
    assert len(document.fit(FLAT, MODALITIES, 19)) == 3


def test_the_layout_moves_no_id_and_is_kept(tmp_path):
    for name, block in FLAT.blocks.items():
        other = STACK.blocks[name]
        assert (other.start, other.size, other.begin, other.end) == (
            block.start,
            block.size,
            block.begin,
            block.end,
        )
    assert [FLAT.more, MIXED.more, Vocabulary.build(MODALITIES, ["pair"]).more] == [0, 2, 1]
    assert STACK.blocks["sound"].stride == 1 < FLAT.blocks["sound"].stride == STACK.blocks["sound"].width == 3
    start = STACK.blocks["sound"].start
    assert MIXED.stacks == {"sound": ((start + 6, start + 11), (start + 11, start + 15))}
    assert len({FLAT.fingerprint, STACK.fingerprint, MIXED.fingerprint}) == 3
    STACK.save(tmp_path)
    assert Vocabulary.load(tmp_path) == STACK
    assert Vocabulary.load(tmp_path).more == 2
    STACK.check(MODALITIES)


def test_files_from_before_there_were_two_layouts_are_flat():
    assert "stacked" not in json.dumps(FLAT.to_json())
    assert not any(block.stacked for block in Vocabulary.from_json(FLAT.to_json()).blocks.values())


def test_extending_may_stack_what_is_new():
    names = list(MODALITIES)
    small = Vocabulary.build({name: MODALITIES[name] for name in names[:4]}, stacked=["cloud"])
    large = small.extend({name: MODALITIES[name] for name in names[4:]}, stacked=["sound"])
    assert large == Vocabulary.build(MODALITIES, stacked=["cloud", "sound"])
    assert (small.more, large.more) == (1, 2)


def test_what_cannot_be_stacked_is_named():
    with pytest.raises(ValueError, match="block 'image' cannot be stacked: it has 1 code per position"):
        Vocabulary.build(MODALITIES, stacked=["image"])
    with pytest.raises(ValueError, match="there is no block 'sounds' to stack: text, image"):
        Vocabulary.build(MODALITIES, stacked=["sounds"])
    with pytest.raises(ValueError, match="there is no block 'cloud' to stack: sound"):
        FLAT.extend({"sound": MODALITIES["sound"].spec}, stacked=["cloud"])
    parts = dataclasses.replace(MODALITIES["text"].spec, parts=(50, 50))
    with pytest.raises(ValueError, match="'text' cannot be stacked: it has no marks"):
        Vocabulary.build({"text": parts}, stacked=["text"])


def test_broken_positions_are_named():
    (a, _), (b, _), (c, _) = STACK.blocks["sound"].ranges
    good = torch.tensor([STACK.mark("sound"), a, b, c, STACK.mark("/sound")])
    assert serial(*STACK.fold(good)).equal(good)
    for wrong, said in {
        (b, c): "nothing begins its position",
        (a, b): "needs 2 further parts, in order, and has",
        (a, c, b): "needs 2 further parts",
        (a, b, b, c): "needs 2 further parts",
        (3, b): "id 3 needs 0 further parts",
    }.items():
        with pytest.raises(BadCodes, match=said):
            STACK.fold(torch.tensor(wrong))
    ids, more = STACK.fold(good)
    with pytest.raises(BadCodes, match="a position takes 3, so one is cut"):
        STACK.parse(ids, torch.full_like(more, -1))


def drawn(grammar: Grammar, rows: int, budget: int, seed: int) -> list[list[int]]:
    """Ids drawn evenly from whatever is allowed."""
    generator = torch.Generator().manual_seed(seed)
    states = grammar.start(rows, budget)
    out: list[list[int]] = [[] for _ in states]
    while not all(state.done for state in states):
        ids = torch.multinomial(grammar.allowed(states).float(), 1, generator=generator)[:, 0]
        for mine, state, new in zip(out, states, ids.tolist(), strict=True):
            if not state.done:
                mine.append(new)
        grammar.advance(states, ids)
    return out


@pytest.mark.parametrize("budget", [1, 3, 4, 5, 6, 9, 30])
@pytest.mark.parametrize("vocabulary", [STACK, MIXED])
def test_a_budget_counts_positions_and_every_row_ends_parses_and_decodes(vocabulary, budget):
    rows = drawn(Grammar.answer(vocabulary, MODALITIES), 200, budget, seed=budget)
    lengths = []
    for ids in rows:
        lengths.append(len(vocabulary.fold(torch.tensor(ids))[0]))
        for part in vocabulary.parse(ids):
            if isinstance(part, Segment):
                MODALITIES[part.name].decode([part.codes])
    assert max(lengths) <= budget
    assert max(lengths) == budget or budget > 9


@pytest.mark.parametrize(("name", "budget"), [("cloud", 5), ("sound", 4), ("pair", 4)])
def test_the_smallest_budget_holds_the_shortest_body(name, budget):
    grammar = Grammar.answer(STACK, MODALITIES, first=name)
    with pytest.raises(ValueError, match=f"needs at least {budget}"):
        grammar.start(1, budget - 1)
    for ids in drawn(grammar, 20, budget, seed=0):
        first = STACK.parse(ids)[0]
        assert first.name == name
        MODALITIES[name].decode([first.codes])


def test_the_state_knows_when_it_is_within_a_position():
    grammar = Grammar.answer(STACK, MODALITIES, first="sound")
    (state,) = grammar.start(1, 4)
    (a, _), (b, _), (c, _) = STACK.blocks["sound"].ranges
    seen = []
    for new in [STACK.mark("sound"), a, b, c, STACK.mark("/sound"), STACK.mark("turn")]:
        grammar.advance([state], [new])
        block = grammar.unfinished(state)
        seen.append((state.left, block.name if block else None))
    assert seen == [(3, None), (2, "sound"), (2, "sound"), (2, None), (1, None), (0, None)]
