from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Brackets, Plain, toys

from unitok import BadCodes, Codes, Document, Grammar, Mark, Segment, Vocabulary
from unitok.document import segment

MODALITIES = toys()
VOCABULARY = Vocabulary.build(MODALITIES)
TEXT, IMAGE = MODALITIES["text"], MODALITIES["image"]


def sample(grammar: Grammar, rows: int, budget: int, seed: int) -> list[list[int]]:
    """Ids drawn evenly from whatever is allowed: a model that knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    states = grammar.start(rows, budget)
    out: list[list[int]] = [[] for _ in states]
    while not all(state.done for state in states):
        ids = torch.multinomial(grammar.allowed(states).float(), 1, generator=generator)[:, 0]
        for ids_of_row, state, new in zip(out, states, ids.tolist(), strict=True):
            if not state.done:
                ids_of_row.append(new)
        grammar.advance(states, ids)
    return out


def decodes(ids: list[int]) -> None:
    for part in VOCABULARY.parse(ids):
        if isinstance(part, Segment):
            MODALITIES[part.name].decode([part.codes])


@st.composite
def documents(draw: st.DrawFn) -> Document:
    parts = {
        "text": segment(TEXT, [3, 99, 98]),
        "image": segment(IMAGE, [0, 1, 2, 3]),
        "cloud": segment(MODALITIES["cloud"], [[7, 3], [0, 0], [1, 2]]),
        "molecule": segment(MODALITIES["molecule"], [9]),
    }
    content = st.lists(st.sampled_from(sorted(parts)).map(lambda name: parts[name]), max_size=4)
    if draw(st.booleans()):
        return Document.of(*draw(content))
    roles = draw(st.lists(st.sampled_from(["system", "user", "assistant"]), min_size=1, max_size=4))
    return Document.chat([(role, draw(content)) for role in roles])


@given(documents())
def test_document_accepts_every_rendered_document(document):
    assert Grammar.document(VOCABULARY, MODALITIES).accepts(document.render(VOCABULARY).ids)


@given(documents())
def test_answer_accepts_every_assistant_turn(document):
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    for turn in document.turns:
        if turn.role == "assistant":
            ids = Document((turn,)).render(VOCABULARY).ids
            assert grammar.accepts(ids[2:-1])


@pytest.mark.parametrize("budget", [1, 2, 7, 40])
@pytest.mark.parametrize("stop", ["turn", "end"])
def test_every_sampled_answer_ends_within_its_budget_parses_and_decodes(budget, stop):
    for ids in sample(Grammar.answer(VOCABULARY, MODALITIES, stop=stop), 200, budget, seed=budget):
        assert len(ids) <= budget
        decodes(ids)


def test_every_sampled_document_ends_parses_and_is_accepted():
    grammar = Grammar.document(VOCABULARY, MODALITIES)
    rows = sample(grammar, 200, 60, seed=0)
    assert all(len(ids) <= 60 and grammar.accepts(ids) for ids in rows)
    for ids in rows:
        decodes(ids)
    assert len({len(ids) for ids in rows}) > 10


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 99), st.integers(0, 639))
def test_what_the_grammar_accepts_parses_and_what_it_refuses_is_not_well_formed(seed, at, new):
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    (ids,) = sample(grammar, 1, 40, seed)
    ids[at % len(ids)] = new
    if grammar.accepts(ids):
        decodes(ids)
        return
    try:
        parsed = VOCABULARY.parse(ids)
        decodes(ids)
    except BadCodes:
        return
    marks = [part.name for part in parsed if isinstance(part, Mark)]
    cut = any(isinstance(a, Segment) and a.name == "text" and 99 in a.codes.ids.tolist() for a in parsed)
    assert marks != ["turn"] or cut


def test_rows_in_different_states_are_masked_as_they_are_alone():
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    prefixes = [
        [],
        [5, 99],
        [VOCABULARY.mark("image"), 384],
        [VOCABULARY.mark("cloud"), 448],
        [VOCABULARY.mark("turn")],
    ]
    states = grammar.start(len(prefixes), 50)
    for state, prefix in zip(states, prefixes, strict=True):
        for new in prefix:
            grammar.advance([state], [new])
    together = grammar.allowed(states)
    for i, state in enumerate(states):
        assert grammar.allowed([state])[0].equal(together[i])
    assert together[1].nonzero()[:, 0].tolist() == [98]
    assert together[2].nonzero()[:, 0].tolist() == list(range(384, 404))
    assert together[3].nonzero()[:, 0].tolist() == list(range(456, 460))
    assert together[4].nonzero()[:, 0].tolist() == [VOCABULARY.mark("pad")]


def test_fixed_bodies_close_when_full_and_not_before():
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    states = grammar.start(1, 50)
    for new in [VOCABULARY.mark("image"), 384, 385, 386]:
        grammar.advance(states, [new])
    assert not grammar.allowed(states)[0, VOCABULARY.mark("/image")]
    grammar.advance(states, [387])
    assert grammar.allowed(states)[0].nonzero()[:, 0].tolist() == [VOCABULARY.mark("/image")]


def test_forcing_and_forbidding_a_modality():
    for ids in sample(Grammar.answer(VOCABULARY, MODALITIES, produce=["image"], first="image"), 20, 40, 0):
        assert ids[0] == VOCABULARY.mark("image")
        assert not any(i < 100 for i in ids)
    for ids in sample(Grammar.answer(VOCABULARY, MODALITIES, produce=["text"]), 20, 40, 0):
        assert all(i < 100 or i == VOCABULARY.mark("turn") for i in ids)
    for ids in sample(Grammar.answer(VOCABULARY, MODALITIES, first="text"), 20, 40, 0):
        assert ids[0] < 100
    with pytest.raises(ValueError, match=r"cannot produce \['sound'\]"):
        Grammar.answer(VOCABULARY, MODALITIES, produce=["sound"])


def test_a_block_opens_only_if_it_can_still_close():
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    for budget, fits in ((6, False), (7, True)):
        allowed = grammar.allowed(grammar.start(1, budget))[0]
        assert bool(allowed[VOCABULARY.mark("image")]) is fits


def test_a_budget_that_holds_no_answer_is_an_error():
    grammar = Grammar.answer(VOCABULARY, MODALITIES, first="image")
    with pytest.raises(ValueError, match="a budget of 6 ids cannot hold an answer: it needs at least 7"):
        grammar.start(1, 6)


def test_an_id_that_is_not_allowed_is_named():
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    states = grammar.start(1, 20)
    grammar.advance(states, [VOCABULARY.mark("image")])
    with pytest.raises(BadCodes, match="id 3 at step 1 is not allowed inside image"):
        grammar.advance(states, [3])


def test_masks_are_cached_lines_and_stay_few():
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    sample(grammar, 50, 40, 1)
    before = len(grammar.table)
    sample(grammar, 50, 40, 2)
    assert len(grammar.table) == before <= 64


def test_a_mask_line_never_changes_once_built():
    grammar = Grammar.answer(VOCABULARY, MODALITIES)
    line = int(grammar.rows(grammar.start(1, 40))[0])
    before = grammar.table[line].clone()
    sample(grammar, 20, 40, 3)
    assert grammar.table[line].equal(before)


def test_a_body_with_no_way_on_is_a_clear_error():
    class Stuck(Plain):
        def legal(self, prefix):
            from unitok import Legal

            return Legal((), end=False)

    stuck = Stuck("cloud", 4, (1, 3))
    vocabulary = Vocabulary.build({"cloud": stuck})
    grammar = Grammar.answer(vocabulary, {"cloud": stuck})
    states = grammar.start(1, 20)
    grammar.advance(states, [vocabulary.mark("cloud")])
    with pytest.raises(BadCodes, match="contradict each other"):
        grammar.allowed(states)


def test_codes_of_a_flat_document_reach_the_model_in_order():
    ids = VOCABULARY.frame("cloud", Codes(torch.tensor([[7, 3], [0, 1]])))
    assert ids.tolist() == [138, 455, 459, 448, 457, 139]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 200), st.sampled_from([None, "formula"]))
def test_brackets_that_open_ever_deeper_still_close_in_time(seed, extra, first):
    modalities = {"text": TEXT, "formula": Brackets()}
    vocabulary = Vocabulary.build(modalities)
    grammar = Grammar.answer(vocabulary, modalities, first=first)
    budget = 4 + extra
    (state,) = grammar.start(1, budget)
    chance = random.Random(seed)
    ids: list[int] = []
    while not state.done:
        may = grammar.allowed([state])[0].nonzero()[:, 0].tolist()
        opens = [i for i in may if i in (vocabulary.mark("formula"), vocabulary.block("formula").start)]
        ids.append(opens[0] if opens and chance.random() < 0.9 else chance.choice(may))
        grammar.advance([state], ids[-1:])
    assert len(ids) <= budget
    for part in vocabulary.parse(ids):
        if isinstance(part, Segment):
            modalities[part.name].decode([part.codes])
