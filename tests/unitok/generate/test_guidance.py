from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unitok import Document, Segment, Vocabulary
from unitok.document import Rendered
from unitok.generate import Sampler
from unitok.generate.batch import Batch
from unitok.generate.guidance import check, guide, scales, strengths
from unitok.model.decoder import Decoder

SEEDS = st.integers(0, 2**31)


def logits(seed: int) -> torch.Tensor:
    return torch.randn(3, 2, 40, generator=torch.Generator().manual_seed(seed)) * 10


@given(SEEDS)
def test_scale_one_is_no_guidance_bit_for_bit(seed: int) -> None:
    both = logits(seed)
    assert torch.equal(guide(both, [1.0, 1.0, 1.0]), both[:, 0])
    assert torch.equal(guide(both, [1.0, 3.0, 1.0])[[0, 2]], both[[0, 2], 0])


@given(SEEDS, st.floats(0, 20))
def test_identical_branches_give_either_bit_for_bit(seed: int, scale: float) -> None:
    both = logits(seed)
    both[:, 1] = both[:, 0]
    assert torch.equal(guide(both, [scale] * 3), both[:, 0])


@settings(deadline=None)  # the first operation of a process takes longer
@given(SEEDS, st.floats(0, 20))
def test_formula_is_u_plus_s_times_the_difference(seed: int, scale: float) -> None:
    both = logits(seed)
    conditional, null = both.double().unbind(1)
    expected = null + scale * (conditional - null)
    torch.testing.assert_close(guide(both, [scale] * 3).double(), expected, atol=1e-3, rtol=1e-5)


def test_scales_hold_inside_their_spans_alone() -> None:
    assert scales({"image": 4.0}, ["image", "text", None, "cloud"]) == [4.0, 1.0, 1.0, 1.0]


def test_bad_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="asked for 'imaeg'.*did you mean 'image'"):
        check({"imaeg": 2.0}, ["text", "image"])
    with pytest.raises(ValueError, match="guidance of 'image' is nan"):
        check({"image": float("nan")}, ["text", "image"])


@torch.no_grad()
def test_the_two_branches_have_caches_of_their_own(
    decoder: Decoder, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    """A paired row and its null row go on as each would alone."""
    pairs = [[p.prompt(vocabulary), p.prompt(vocabulary).nulled()] for p in prompts[:3]]
    ids = torch.tensor([70, 71, 72])
    paired = Batch(decoder, pairs, 2, 0)
    paired.step(ids)
    for lane in range(2):
        alone = Batch(decoder, [[pair[lane]] for pair in pairs], 2, 0)
        alone.step(ids)
        torch.testing.assert_close(paired.logits()[:, lane], alone.logits()[:, 0], atol=1e-5, rtol=0)


def test_null_form_drops_the_condition_and_keeps_the_roles(
    vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    names = [vocabulary.parse(p.prompt(vocabulary).nulled().ids) for p in prompts[:2]]
    assert [[part.name for part in parts] for parts in names] == [["doc", "user", "turn", "assistant"]] * 2


def test_guidance_of_scale_one_gives_what_no_guidance_gives(
    sampler: Sampler, prompts: list[Document]
) -> None:
    plain = ids_of(sampler, prompts)
    assert ids_of(sampler, prompts, guidance={"image": 1.0, "text": 1.0, "cloud": 1.0}) == plain


def test_a_span_of_scale_one_beside_guided_ones_is_what_it_is_without(
    sampler: Sampler, prompts: list[Document]
) -> None:
    """The depth head runs on two lanes here, and the row's own logits are taken."""
    options = {"budget": 14, "first": "cloud", "produce": ["cloud"], "seed": 5}
    plain = sampler.generate(prompts * 4, **options)
    beside = sampler.generate(prompts * 4, guidance={"cloud": 1.0, "image": 7.0}, **options)
    assert [flat(row) for row in beside] == [flat(row) for row in plain]


def test_a_null_that_equals_the_prompt_changes_nothing(sampler: Sampler, prompts: list[Document]) -> None:
    plain = ids_of(sampler, prompts)
    guidance = {"image": 6.0, "text": 3.0, "cloud": 2.0}
    assert ids_of(sampler, prompts, guidance=guidance, nulls=prompts) == plain


def test_guidance_changes_the_span_that_it_is_for_and_no_more(
    sampler: Sampler, prompts: list[Document]
) -> None:
    prompt = prompts[:1] * 12
    plain = sampler.generate(prompt, budget=60, first="image", temperature=0.7)
    guided = sampler.generate(prompt, budget=60, first="image", temperature=0.7, guidance={"image": 8.0})
    assert any(a[0].codes.ids.tolist() != b[0].codes.ids.tolist() for a, b in zip(plain, guided, strict=True))
    texts = sampler.generate(prompt, budget=30, produce=["text"])
    same = sampler.generate(prompt, budget=30, produce=["text"], guidance={"image": 8.0})
    assert [flat(row) for row in texts] == [flat(row) for row in same]


def test_every_part_of_a_position_is_guided(sampler: Sampler, vocabulary: Vocabulary) -> None:
    """Against guided logits of whole forwards: the likeliest parts of the first position."""
    modality, block = sampler.modalities["text"], vocabulary.block("cloud")
    differs = [0, 0, 0]
    for said in (
        "A cloud of grey points.",
        "Nothing",
        "?",
        "Some 70 dots",
        "zzzzz",
        "Once more, with feeling",
    ):
        prompt = Document.chat([("user", [Segment("text", modality.encode([said])[0])])])
        lanes = [prompt.prompt(vocabulary), prompt.prompt(vocabulary).nulled()]
        [row] = sampler.generate([prompt], budget=40, temperature=0, first="cloud", guidance={"cloud": 5.0})
        wanted: list[int] = []
        for part, (start, stop) in enumerate(block.ranges):
            logits = [part_logits(sampler.decoder, vocabulary, lane, wanted)[start:stop] for lane in lanes]
            best = int((logits[1] + 5.0 * (logits[0] - logits[1])).argmax())
            differs[part] += best != int(logits[0].argmax())
            wanted.append(start + best)
        assert vocabulary.flat("cloud", row[0].codes)[:3].tolist() == [i - block.start for i in wanted]
    assert differs[1] + differs[2] > 1  # or the test could not tell


@torch.no_grad()
def part_logits(decoder: Decoder, vocabulary: Vocabulary, prompt: Rendered, known: list[int]) -> torch.Tensor:
    """[V], of the next part of the first position of a cloud behind a prompt, in either layout."""
    stacked = decoder.depth is not None
    ids = [*prompt.ids.tolist(), vocabulary.mark("cloud"), *([] if stacked else known)]
    tokens = torch.tensor(ids)[None]
    hidden = decoder(tokens, torch.zeros_like(tokens), torch.arange(len(ids))[None])[0, -1]
    if not (stacked and known):
        return decoder.logits(hidden)
    out = torch.full((len(vocabulary),), float("nan"))
    start, stop = vocabulary.block("cloud").ranges[len(known)]
    vectors = decoder.model.embed_tokens(torch.tensor(known))
    out[start:stop] = decoder.depth.logits("cloud", hidden[None], vectors[None])[0]
    return out


def test_guidance_of_bare_ids_needs_their_null_form(
    sampler: Sampler, vocabulary: Vocabulary, prompts: list[Document]
) -> None:
    ids = prompts[0].prompt(vocabulary).ids
    with pytest.raises(ValueError, match="guidance of bare ids needs `nulls`"):
        sampler.generate([ids], guidance={"image": 2.0})
    nulled = prompts[0].prompt(vocabulary).nulled().ids
    given_ids = ids_of(sampler, [ids], guidance={"image": 2.0}, nulls=[nulled])
    assert given_ids == ids_of(sampler, [prompts[0]], guidance={"image": 2.0})


def flat(row: list) -> list:
    return [(part.name, part.codes.ids.tolist() if hasattr(part, "codes") else None) for part in row]


def ids_of(sampler: Sampler, prompts: list, **options) -> list:
    return [flat(row) for row in sampler.generate(prompts, budget=50, **options)]


def test_scales_are_read_from_words() -> None:
    assert strengths(["image=4", "cloud=1.5"]) == {"image": 4.0, "cloud": 1.5}
    for word in ("image", "image=much", "4"):
        with pytest.raises(ValueError, match=f"written image=4.0, not '{word}'"):
            strengths([word])
    with pytest.raises(ValueError, match="gives image a second scale"):
        strengths(["image=4", "image=5"])
