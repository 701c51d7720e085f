from __future__ import annotations

import copy

import pytest
import torch

from unitok import Document, Grammar, Mark, Modality, Segment, Vocabulary, create
from unitok.generate import Sampler
from unitok.generate.masks import Masks
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder
from unitok.phase import State

Modalities = dict[str, Modality]


def flat(row: list[Segment | Mark]) -> list[tuple[str, object]]:
    return [(part.name, None if isinstance(part, Mark) else part.codes.ids.tolist()) for part in row]


def names(row: list[Segment | Mark]) -> list[str]:
    return [part.name for part in row]


def size(row: list[Segment | Mark], vocabulary: Vocabulary) -> int:
    return sum(1 if isinstance(part, Mark) else len(vocabulary.frame(part.name, part.codes)) for part in row)


def check_rows(rows: list[list[Segment | Mark]], vocabulary: Vocabulary, modalities: Modalities) -> None:
    """Every row ended, obeys the grammar and decodes strictly (decode raises otherwise)."""
    grammar = Grammar.answer(vocabulary, modalities)
    for row in rows:
        assert row[-1] == Mark("turn")
        assert not any(isinstance(part, Mark) for part in row[:-1])
        written = Document.of(*row[:-1]).render(vocabulary).serial[1:-1]  # without doc and end
        assert grammar.accepts([*written.tolist(), vocabulary.mark("turn")])
        for part in row[:-1]:
            modalities[part.name].decode([part.codes])


def test_every_row_of_a_random_model_ends_parses_and_decodes(
    sampler: Sampler, vocabulary: Vocabulary, modalities: Modalities, prompts: list[Document]
) -> None:
    budgets = [1 + row % 90 for row in range(400)]
    rows = sampler.generate(prompts * 100, budget=budgets, seed=1)
    check_rows(rows, vocabulary, modalities)
    assert all(size(row, vocabulary) <= budget for row, budget in zip(rows, budgets, strict=True))
    assert {name for row in rows for name in names(row)} == {*vocabulary.blocks, "turn"}


def test_a_batch_of_rows_in_different_states_gives_what_each_row_gives_alone(
    sampler: Sampler, prompts: list[Document]
) -> None:
    options = {"budget": 40, "temperature": 0.9, "top_k": 50, "top_p": 0.95}
    together = sampler.generate(prompts * 3, seed=list(range(12)), **options)
    for row, prompt in enumerate(prompts * 3):
        [alone] = sampler.generate([prompt], seed=row, **options)
        assert flat(alone) == flat(together[row])
    assert len({str(flat(row)) for row in together}) == 12


def test_the_size_of_the_batch_changes_nothing(
    decoder: Decoder, vocabulary: Vocabulary, modalities: Modalities, prompts: list[Document]
) -> None:
    few, many = (
        Sampler(decoder, vocabulary, modalities, batch=n).generate(prompts * 2, seed=3) for n in (3, 64)
    )
    assert [flat(row) for row in few] == [flat(row) for row in many]


def test_a_seed_gives_the_same_again_and_another_seed_something_else(
    sampler: Sampler, prompts: list[Document]
) -> None:
    first, again, other = (sampler.generate(prompts, budget=40, seed=seed) for seed in (7, 7, 8))
    assert [flat(row) for row in first] == [flat(row) for row in again]
    assert [flat(row) for row in first] != [flat(row) for row in other]


def test_rows_that_are_done_leave_the_batch(
    sampler: Sampler, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    fed = []
    hook = sampler.decoder.register_forward_pre_hook(lambda _, args: fed.append(args[0].shape))
    try:
        rows = sampler.generate(prompts * 4, budget=[5, 60, 30, 12] * 4, seed=2)
    finally:
        hook.remove()
    lengths = [size(row, vocabulary) for row in rows]
    assert fed[0][0] == 16
    assert sum(shape[0] for shape in fed[1:]) == sum(lengths) - 16  # the last id of a row is never fed


def test_first_forces_and_forbid_forbids(sampler: Sampler, prompts: list[Document]) -> None:
    for name in ("text", "image", "sound", "molecule", "cloud"):
        rows = sampler.generate(prompts * 5, budget=40, first=name)
        assert all(row[0].name == name for row in rows)
        rows = sampler.generate(prompts * 5, budget=40, forbid=[name])
        assert not any(name in names(row) for row in rows)


def test_produce_limits_what_is_written(sampler: Sampler, prompts: list[Document]) -> None:
    rows = sampler.generate(prompts * 5, budget=60, produce=["image", "sound"])
    assert {name for row in rows for name in names(row)} == {"image", "sound", "turn"}
    rows = sampler.generate(
        prompts * 5, budget=60, produce=["image", "sound"], forbid=["sound"], first="image"
    )
    assert {name for row in rows for name in names(row)} == {"image", "turn"}
    assert all(row[0].name == "image" for row in rows)


@torch.no_grad()
def likeliest(
    decoder: Decoder, vocabulary: Vocabulary, grammar: Grammar, state: State, stream: list[int]
) -> int:
    """The likeliest legal id behind a serial stream, from one forward over all of it."""
    block = grammar.unfinished(state)
    known = len(state.prefix) % block.width if block is not None else 0
    whole = torch.tensor(stream[: len(stream) - known])
    tokens, more = vocabulary.fold(whole)
    hidden = decoder(
        tokens[None],
        torch.zeros_like(tokens)[None],
        torch.arange(len(tokens))[None],
        more=None if more is None else more[None],
    )[0, -1]
    allowed = grammar.allowed([state])[0]
    if block is None:
        return int(decoder.logits(hidden).masked_fill(~allowed, float("-inf")).argmax())
    vectors = decoder.model.embed_tokens(torch.tensor(stream[len(stream) - known :]))
    start, stop = block.ranges[known]
    logits = decoder.depth.logits(block.name, hidden[None], vectors[None])[0]
    return start + int(logits.masked_fill(~allowed[start:stop], float("-inf")).argmax())


def test_temperature_zero_takes_the_likeliest_legal_id(
    sampler: Sampler, vocabulary: Vocabulary, modalities: Modalities, prompts: list[Document]
) -> None:
    """Against a plain loop with no cache."""
    [row] = sampler.generate(prompts[:1], budget=25, temperature=0.0)
    prompt = prompts[0].prompt(vocabulary).serial.tolist()
    grammar = Grammar.answer(vocabulary, modalities)
    [state] = grammar.start(1, 25)
    written: list[int] = []
    while not state.done:
        best = likeliest(sampler.decoder, vocabulary, grammar, state, prompt + written)
        written.append(best)
        grammar.advance([state], [best])
    assert flat(vocabulary.parse(written)) == flat(row)


def test_a_plain_document_is_ended_by_its_own_mark(
    sampler: Sampler, modalities: Modalities, prompts: list[Document]
) -> None:
    plain = Document.of(Segment("text", modalities["text"].encode(["A cat. "])[0]))
    rows = sampler.generate([plain] * 8, budget=30, first="image")
    assert all(names(row)[0] == "image" and row[-1] == Mark("end") for row in rows)
    with pytest.raises(ValueError, match="some prompts are chats and some plain"):
        sampler.generate([plain, prompts[0]])


def test_documents_columns_and_ids_are_the_same_prompt(
    sampler: Sampler, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    rendered = prompts[1].prompt(vocabulary)
    [a], [b], [c] = (sampler.generate([prompt], budget=30) for prompt in (prompts[1], rendered, rendered.ids))
    assert flat(a) == flat(b) == flat(c)


def test_no_prompts_give_no_rows(sampler: Sampler) -> None:
    assert sampler.generate([]) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"guidance": {"imag": 2.0}}, "guidance is asked for 'imag'"),
        ({"forbid": ["video"]}, "no block 'video' to produce or forbid"),
        ({"produce": ["video"]}, "no block 'video' to produce or forbid"),
        ({"first": "video"}, "video"),
        ({"first": "image", "forbid": ["image"]}, "'image' is to come first and is forbidden"),
        ({"first": "image", "budget": 10}, "budget of 10 ids"),
        ({"budget": 0}, "budget of 0 ids"),
        ({"budget": [5]}, "1 budgets were given for 4 prompts"),
        ({"seed": [1, 2]}, "2 seeds were given for 4 rows"),
        ({"guidance": {"image": 2.0}, "nulls": []}, "0 null prompts were given for 4 prompts"),
    ],
)
def test_bad_options_are_one_sentence(
    sampler: Sampler, prompts: list[Document], options: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        sampler.generate(prompts, **options)


def test_an_empty_prompt_is_refused(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="a prompt is empty"):
        sampler.generate([torch.zeros(0, dtype=torch.int64)])


def test_a_model_of_another_vocabulary_is_refused(decoder: Decoder, modalities: Modalities) -> None:
    vocabulary = Vocabulary.build({"text": modalities["text"]})
    with pytest.raises(
        ValueError, match=f"the model has {decoder.config.vocab_size} ids and the vocabulary 512"
    ):
        Sampler(decoder, vocabulary, {"text": modalities["text"]})


def test_a_model_in_half_precision_samples_too(
    sampler: Sampler, vocabulary: Vocabulary, modalities: Modalities, prompts: list[Document]
) -> None:
    half = copy.deepcopy(sampler.decoder).to(torch.bfloat16)
    rows = Sampler(half, vocabulary, modalities).generate(prompts * 4, budget=40, guidance={"image": 3.0})
    check_rows(rows, vocabulary, modalities)


def test_masks_know_where_there_is_no_choice(vocabulary: Vocabulary, modalities: Modalities) -> None:
    grammar = Grammar.answer(vocabulary, modalities, first="image")
    masks = Masks(grammar, torch.device("cpu"))
    states = grammar.start(2, 40)
    image = vocabulary.blocks["image"]
    zeros = torch.zeros(2, len(vocabulary))
    lines, only = masks.of(states)
    assert only == [image.begin] * 2
    assert torch.equal(masks.apply(zeros, lines) == 0, grammar.allowed(states))
    grammar.advance(states, [image.begin] * 2)
    lines, only = masks.of(states)
    assert only == [-1, -1]
    assert torch.equal(masks.apply(zeros, lines) == 0, grammar.allowed(states))
    for _ in range(8):
        grammar.advance(states[:1], [image.start])
    lines, only = masks.of(states)
    assert only == [image.end, -1]
    assert torch.equal(masks.apply(zeros, lines) == 0, grammar.allowed(states))


BUILT_IN = ["image.titok", "molecule.selfies", "pointcloud.any2point"]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["text.pieces", "text.bytes"])
def test_ten_thousand_rows_over_the_built_in_modalities(text: str) -> None:
    """5,000 rows for each text, of which 4,000 begin with a given block: all end, parse and decode."""
    chem = pytest.importorskip("rdkit.Chem", reason="the built-in modalities need rdkit")
    made = [create(name) for name in (text, *BUILT_IN)]
    torch.manual_seed(0)
    modalities = {modality.spec.name: modality for modality in made}
    vocabulary = Vocabulary.build(modalities)
    decoder = Decoder(ModelConfig.preset(1, vocab_size=len(vocabulary), channels=vocabulary.channels))
    sampler = Sampler(decoder, vocabulary, modalities, batch=250)
    prompt = Document.chat([("user", [Segment("text", modalities["text"].encode(["Anything."])[0])])])
    rows = []
    for seed, first in enumerate((None, *modalities)):
        least = 1 if first is None else modalities[first].shortest_end([]) + 3
        budgets = [least + row % 150 for row in range(1000)]
        rows += sampler.generate([prompt] * 1000, budget=budgets, first=first, seed=seed)
        assert all(size(row, vocabulary) <= budget for row, budget in zip(rows[-1000:], budgets, strict=True))
    assert all(row[-1] == Mark("turn") for row in rows)
    for name, modality in modalities.items():
        codes = [part.codes for row in rows for part in row[:-1] if part.name == name]
        assert len(codes) >= 1000
        items = [item for at in range(0, len(codes), 250) for item in modality.decode(codes[at : at + 250])]
        assert len(items) == len(codes)
        if name == "molecule":
            molecules = [chem.MolFromSmiles(item) for item in items]
            assert all(molecule is not None and molecule.GetNumAtoms() > 0 for molecule in molecules)


def test_a_vocabulary_of_the_other_layout_is_refused(
    decoder: Decoder, vocabulary: Vocabulary, modalities: Modalities
) -> None:
    other = Vocabulary.build(modalities, stacked=[] if vocabulary.more else ["cloud"])
    with pytest.raises(ValueError, match="the model has stacked blocks"):
        Sampler(decoder, other, modalities)


def test_bare_ids_give_what_their_document_gives(
    sampler: Sampler, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    """Without companions, which bare ids cannot bring."""
    rendered = prompts[2].prompt(vocabulary)._replace(side={})
    bare = sampler.generate([rendered.serial], budget=30, seed=4)
    assert flat(bare[0]) == flat(sampler.generate([rendered], budget=30, seed=4)[0])
    assert {int(i) for i in rendered.serial} >= {vocabulary.mark("cloud"), vocabulary.mark("/cloud")}


@pytest.mark.parametrize("block", ["cloud", "pair"])
@pytest.mark.parametrize("budget", [5, 8, 11])
@pytest.mark.parametrize("how", [{}, {"temperature": 0.0}, {"temperature": 0.8, "top_k": 2, "top_p": 0.9}])
def test_positions_with_parts_end_in_time_under_every_way_to_choose(
    sampler: Sampler,
    vocabulary: Vocabulary,
    modalities: Modalities,
    prompts: list[Document],
    block: str,
    budget: int,
    how: dict[str, float],
) -> None:
    budget = budget if vocabulary.more else budget + 4
    rows = sampler.generate(prompts * 8, budget=budget, first=block, guidance={block: 2.0}, seed=3, **how)
    check_rows(rows, vocabulary, modalities)
    assert all(row[0].name == block and size(row, vocabulary) <= budget for row in rows)


def test_rows_that_leave_within_the_spans_of_others_take_nothing_along(
    sampler: Sampler, prompts: list[Document]
) -> None:
    options = {"first": "cloud", "produce": ["cloud"]}
    budgets = [13 + 2 * (row % 5) for row in range(16)]
    together = sampler.generate(prompts * 4, budget=budgets, seed=list(range(16)), **options)
    for row, prompt in enumerate(prompts * 4):
        [alone] = sampler.generate([prompt], budget=budgets[row], seed=row, **options)
        assert flat(alone) == flat(together[row])


def test_parts_are_drawn_apart(sampler: Sampler, modalities: Modalities, vocabulary: Vocabulary) -> None:
    """A model that knows nothing gives parts that have nothing to do with one another."""
    blank = copy.deepcopy(sampler.decoder)
    with torch.no_grad():
        blank.lm_head.weight.zero_()
        for head in blank.depth.lm_heads.values() if blank.depth is not None else ():
            head.weight.zero_()
    prompt = Document.chat([("user", [Segment("text", modalities["text"].encode(["?"])[0])])])
    rows = Sampler(blank, vocabulary, modalities).generate([prompt] * 200, budget=12, first="cloud", seed=2)
    seen = torch.cat([row[0].codes.ids for row in rows])
    assert len(seen.unique(dim=0)) == 4 * 3 * 5
    for part, size in enumerate((4, 3, 5)):
        share = seen[:, part].bincount(minlength=size) / len(seen)
        assert (share - 1 / size).abs().max() < 0.08
