from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unitok import Codes, Document, Mark, Modality, Segment, Vocabulary
from unitok.generate import Event, Sampler, Teller


def joined(
    events: list[Event], vocabulary: Vocabulary, modalities: dict[str, Modality]
) -> list[tuple[str, list]]:
    """Spans rebuilt from events; checks their order on the way."""
    out: list[tuple[str, list]] = []
    text, body, opened = "", [], None
    for event in [*events, ("begin", None)]:
        if event[0] == "text":
            assert opened is None
            assert event[1]
            text += event[1]
            continue
        if event[0] == "begin":
            assert opened is None
            if text:
                out.append(("text", modalities["text"].encode([text])[0].ids.tolist()))
            text, body, opened = "", [], event[1]
        elif event[0] == "codes":
            assert event[1] == opened
            assert event[2].dtype == torch.int64
            body.append(event[2])
        else:
            assert event[1] == opened
            codes = vocabulary.unflat(opened, torch.cat(body))
            assert event[2] == modalities[opened].decode([codes])[0]
            out.append((opened, codes.ids.tolist()))
            opened = None
    return out


def test_events_join_to_what_generate_gives(
    sampler: Sampler, vocabulary: Vocabulary, modalities: dict[str, Modality], prompts: list[Document]
) -> None:
    for seed, first in enumerate([*vocabulary.blocks] * 2):
        prompt, options = prompts[seed % 4], {"budget": 40, "seed": seed, "first": first, "temperature": 0.8}
        [row] = sampler.generate([prompt], **options)
        events = list(sampler.stream(prompt, **options))
        assert joined(events, vocabulary, modalities) == [(s.name, s.codes.ids.tolist()) for s in row[:-1]]
        assert row[0].name == first


def test_guidance_streams_too(
    sampler: Sampler, vocabulary: Vocabulary, modalities: dict[str, Modality], prompts: list[Document]
) -> None:
    options = {"budget": 40, "guidance": {"image": 5.0}, "first": "image"}
    [row] = sampler.generate(prompts[:1], **options)
    events = list(sampler.stream(prompts[0], **options))
    assert joined(events, vocabulary, modalities) == [(s.name, s.codes.ids.tolist()) for s in row[:-1]]
    assert events[0] == ("begin", "image")


def test_events_come_as_the_ids_do(sampler: Sampler, prompts: list[Document]) -> None:
    """The first event is there after the prompt alone has been read."""
    calls = []
    hook = sampler.decoder.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        assert next(iter(sampler.stream(prompts[0], first="image"))) == ("begin", "image")
    finally:
        hook.remove()
    assert len(calls) == 1


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_text_comes_in_whole_characters(
    modalities: dict[str, Modality], vocabulary: Vocabulary, text: str
) -> None:
    teller = Teller(vocabulary, modalities)
    events = [event for new in text.encode() for event in teller.push(new)]
    assert events == [("text", character) for character in text]
    assert list(teller.close()) == []


def test_a_span_between_two_stretches_of_text(
    modalities: dict[str, Modality], vocabulary: Vocabulary
) -> None:
    image = vocabulary.frame("image", Codes(torch.arange(8))).tolist()
    teller = Teller(vocabulary, modalities)
    ids = [*b"ab", *image, *b"c", vocabulary.mark("turn")]
    events = [event for new in ids for event in teller.push(new)]
    kinds = [event[0] for event in events]
    assert kinds == ["text", "text", "begin", *["codes"] * 8, "end", "text"]
    assert events[-2] == ("end", "image", list(range(8)))
    assert joined(events, vocabulary, modalities) == [
        (part.name, part.codes.ids.tolist()) for part in vocabulary.parse(ids) if not isinstance(part, Mark)
    ]
    assert isinstance(vocabulary.parse(ids)[0], Segment)
