"""Modalities with every kind of body (open text, fixed, ranged, open with rules, parts), and a random decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from toys import Pairs, Plain

from unitok import BadCodes, Codes, Document, Legal, Modality, Segment, Side, Vocabulary, create
from unitok.generate import Sampler
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder


class Chain(Plain):
    """Open length, with rules: codes under 4 are bonds, and an atom must stand first, last and after a bond."""

    def __init__(self) -> None:
        super().__init__("molecule", 10, (1, None))

    def decode(self, codes: Sequence[Codes]) -> list[list[int]]:
        items = super().decode(codes)
        for item in items:
            if min(item[0], item[-1]) < 4 or any(a < 4 and b < 4 for a, b in pairwise(item)):
                raise BadCodes(f"{item} has a bond without its atom")
        return items

    def legal(self, prefix: Sequence[int]) -> Legal:
        atom_due = not prefix or prefix[-1] < 4
        return Legal((range(4, 10),), end=False) if atom_due else Legal((range(10),))

    def shortest_end(self, prefix: Sequence[int]) -> int:
        return int(not prefix or prefix[-1] < 4)


@pytest.fixture(scope="session")
def modalities() -> dict[str, Modality]:
    cloud = Plain("cloud", 12, (2, 3), parts=(4, 3, 5), side={"near": Side("ids", 2, 6)})
    plain = [Plain("image", 16, (8, 8)), Plain("sound", 12, (2, 6))]
    made = [create("text.bytes"), *plain, Chain(), cloud, Pairs()]
    return {modality.spec.name: modality for modality in made}


@pytest.fixture(scope="session", params=["flat", "stacked"])
def vocabulary(modalities: dict[str, Modality], request: pytest.FixtureRequest) -> Vocabulary:
    """Every test of sampling holds in both layouts of what has parts."""
    return Vocabulary.build(modalities, stacked=["cloud", "pair"] if request.param == "stacked" else [])


@pytest.fixture(scope="session")
def decoder(vocabulary: Vocabulary) -> Decoder:
    return random_decoder(vocabulary)


@pytest.fixture
def sampler(decoder: Decoder, vocabulary: Vocabulary, modalities: dict[str, Modality]) -> Sampler:
    return Sampler(decoder, vocabulary, modalities)


def random_decoder(vocabulary: Vocabulary) -> Decoder:
    """A small decoder whose logits spread enough for sampling to be far from uniform."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=len(vocabulary),
        width=32,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        hidden=64,
        channels=vocabulary.channels,
        stacks=vocabulary.stacks,
    )
    decoder = Decoder(config)
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if "embed_" in name:
                weight.normal_()
        decoder.lm_head.weight.normal_(std=0.3)
        for head in decoder.depth.lm_heads.values() if decoder.depth is not None else ():
            head.weight.normal_(std=0.3)
    return decoder


@pytest.fixture(scope="session")
def prompts(modalities: dict[str, Modality]) -> list[Document]:
    """Chats of different lengths, some with a span and companions in the question."""
    text = modalities["text"]
    cloud = Codes(torch.tensor([[1, 2, 3], [0, 0, 4]]), {"near": torch.tensor([[1, -1], [5, 2]])})

    def said(words: str) -> Segment:
        return Segment("text", text.encode([words])[0])

    return [
        Document.chat([("user", [said("Draw a long red house with a garden.")])]),
        Document.chat([("user", [said("a"), Segment("image", Codes(torch.arange(8)))])]),
        Document.chat([("user", [Segment("cloud", cloud), said("What is it?")])]),
        Document.chat(
            [("system", [said("é")]), ("user", [said("?")]), ("assistant", [said("no")]), ("user", [])]
        ),
    ]
