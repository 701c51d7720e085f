"""A tiny world for evaluation: words, pictures, a store of chats and a random decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from toys import Plain

from unitok import BadCodes, BadItem, Codes, Document, Modality, Spec, Vocabulary
from unitok.data.writer import StoreWriter
from unitok.document import segment
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder


class Words(Modality):
    """ASCII text, one code per character."""

    spec = Spec("text", 128, (1, None), "ascii", framed=False)

    def encode(self, items: Sequence[str]) -> list[Codes]:
        return [Codes(torch.tensor(list(item.encode()), dtype=torch.int64)) for item in items]

    def decode(self, codes: Sequence[Codes]) -> list[str]:
        return [bytes(one.ids.tolist()).decode() for one in codes]


class Squares(Plain):
    """Pictures of four grey squares; all 0 is an empty one, 7 first is undecodable, over 20 in all too bright."""

    def __init__(self) -> None:
        super().__init__("image", 8, (4, 4))

    def encode(self, items):
        for i, item in enumerate(items):
            if sum(item) > 20:
                raise BadItem(i, "the picture is too bright")
        return super().encode(items)

    def decode(self, codes):
        if any(one.ids[0] == 7 for one in codes):
            raise BadCodes("a picture cannot begin with 7")
        return super().decode(codes)

    def show(self, item):
        return Image.fromarray(np.array(item, dtype=np.uint8).reshape(2, 2) * 30).resize((64, 64), 0)

    def label(self, item):
        return "squares " + "-".join(map(str, item))

    def compare(self, a, b):
        if not any(a) or not any(b):
            raise ValueError("the picture is empty: give at least one square")
        return {"distance": float(np.abs(np.array(a) - np.array(b)).mean())}


MODALITIES: dict[str, Modality] = {"text": Words(), "image": Squares()}
VOCABULARY = Vocabulary.build(MODALITIES)


def seg(name, item):
    return segment(MODALITIES[name], item)


def chats(number):
    """(key, form, document) of one record."""
    picture = seg("image", [1 + number % 6, number // 6 % 7, 2, 3])
    said = f"a picture of {number}"
    asked = [("user", [picture, seg("text", "What?")]), ("assistant", [seg("text", said)])]
    drawn = [("user", [seg("text", f"Draw {said}")]), ("assistant", [picture])]
    yield f"r{number}", "chat.0", Document.chat(asked)
    yield f"r{number}", "chat.1", Document.chat(drawn)


def talks(number):
    """Records that bring their own documents: a page and a conversation."""
    yield f"p{number}", "own", Document.of(seg("text", f"page {number}"))
    turns = [
        ("user", [seg("text", "Hello")]),
        ("assistant", [seg("text", "Hi")]),
        ("user", [seg("text", f"Draw {number}")]),
        ("assistant", [seg("text", "Here:"), seg("image", [1 + number % 6, 2, 2, 3])]),
    ]
    yield f"t{number}", "own", Document.chat(turns)


def make_store(path, records, make):
    with StoreWriter(path, VOCABULARY) as writer:
        for number in records:
            for key, form, document in make(number):
                writer.add(document.render(VOCABULARY), key, form)
        return writer.finish()


def make_stores(folder, records):
    made = {"pictures": chats, "talks": talks}
    return {name: make_store(folder / name, records, make) for name, make in made.items()}


@pytest.fixture(scope="session")
def train(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("train"), range(8, 60))


@pytest.fixture(scope="session")
def heldout(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("heldout"), range(8))


@pytest.fixture(scope="session")
def random_decoder():
    torch.manual_seed(1)
    return Decoder(ModelConfig.preset(depth=1, vocab_size=len(VOCABULARY))).eval()


@pytest.fixture(scope="session")
def world():
    return VOCABULARY, MODALITIES
