from __future__ import annotations

import pytest
import torch
from toys import nested

from unitok import BadItem, Codes, Document, Modality, Spec, Vocabulary, create
from unitok.generate.prompt import budget, chat, segments


class Picky(Modality):
    """Items are the words "a" to "d", in files or as they stand."""

    suffixes = (".word",)
    spec = Spec("image", 4, (1, 1), "picky")

    def encode(self, items):
        for i, item in enumerate(items):
            if item not in "abcd":
                raise BadItem(i, f"{item!r} is no word: use a, b, c or d")
        return [Codes(torch.tensor(["abcd".index(item)])) for item in items]

    def decode(self, codes):
        return ["abcd"[int(c.ids[0])] for c in codes]

    def read(self, data, suffix):
        return data.decode().strip()


MODALITIES = {"text": create("text.bytes"), "image": Picky()}


def test_references_stand_where_they_are_written(tmp_path) -> None:
    (tmp_path / "one.WORD").write_text("c\n")
    parts = segments(f"See {{image:{tmp_path}/one.WORD}} and {{image:b}}{{image:a}}.", MODALITIES)
    assert [part.name for part in parts] == ["text", "image", "text", "image", "image", "text"]
    items = [MODALITIES[part.name].decode([part.codes])[0] for part in parts]
    assert items == ["See ", "c", " and ", "b", "a", "."]


@pytest.mark.parametrize(
    "prompt", ["plain", "{no reference}", "<image> </image> <doc>", "{image}", "set {}: {1}"]
)
def test_everything_else_is_text(prompt: str) -> None:
    [part] = segments(prompt, MODALITIES)
    assert MODALITIES["text"].decode([part.codes]) == [prompt]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{imag:a}", "no block is called 'imag': did you mean 'image'"),
        ("{image:zz}", "{image:zz} cannot be encoded: 'zz' is no word"),
        ("{image:not/there.word}", "{image:not/there.word} cannot be read: No such file"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(prompt: str, said: str) -> None:
    with pytest.raises(ValueError, match="prompt|cannot") as error:
        segments(prompt, MODALITIES)
    assert said in str(error.value)


def test_a_vocabulary_without_text_takes_references_alone() -> None:
    only = {"image": Picky()}
    assert [part.name for part in segments("{image:a}", only)] == ["image"]
    with pytest.raises(ValueError, match="has no text"):
        segments("What? {image:a}", only)


def test_chat_asks_and_leaves_the_answer_open() -> None:
    vocabulary = Vocabulary.build(MODALITIES)
    document = chat("Draw {image:a}", MODALITIES, system="Be brief.")
    assert isinstance(document, Document)
    names = [part.name for part in vocabulary.parse(document.prompt(vocabulary).ids)]
    assert names == ["doc", "system", "text", "turn", "user", "text", "image", "turn", "assistant"]
    assert [part.name for part in vocabulary.parse(chat("a", MODALITIES).prompt(vocabulary).ids)][:2] == [
        "doc",
        "user",
    ]


def test_budgets_are_words() -> None:
    assert budget(["300", "image=64"]) == {"answer": 300, "image": 64}
    assert budget([]) == {}
    for wrong in ("image", "image=", "image=-3", "=x"):
        with pytest.raises(ValueError, match="300 or image=64"):
            budget([wrong])


def test_items_of_a_prompt_keep_to_their_budget() -> None:
    class Eights(Modality):
        """Eight codes, whatever the item says."""

        spec = nested()["image"].spec

        def encode(self, items):
            return [Codes(torch.arange(8)) for _ in items]

        def decode(self, codes):
            return list(codes)

    modalities = {"text": create("text.bytes"), "image": Eights()}
    document = chat("{image:a} and {image:b}", modalities, budget={"image": 5, "answer": 3})
    assert [len(part.codes) for part in document.segments] == [4, 5, 4]
    assert [len(part.codes) for part in segments("{image:a}", modalities)] == [8]
