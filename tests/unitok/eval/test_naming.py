"""Labels in answers, figures of a closed set, and the likeliest label of a model that knows one."""

from __future__ import annotations

import pytest
import torch

from unitok import Vocabulary, create
from unitok.document import Document, segment
from unitok.eval.naming import figures, label_in, likeliest
from unitok.generate import Sampler
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder

LABELS = ["chair", "bar stool", "stool", "tv"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("This is a bar stool.", "bar stool"),
        ("A STOOL", "stool"),
        ("two chairs", None),
        ("armchair", None),
        ("a stool, a chair", "stool"),
        ("a chair, a stool", "chair"),
        ("", None),
        ("TV!", "tv"),
    ],
)
def test_the_longest_label_that_stands_in_a_text(text, label):
    assert label_in(text, LABELS) == label


def test_figures():
    found = figures(["a", "a", "a", "b"], ["a", "a", None, "a"])
    assert found == {"n": 4, "right": 0.5, "mean_right": pytest.approx(1 / 3), "no_label": 0.25}
    with pytest.raises(ValueError, match="2 labels and 1 answers"):
        figures(["a", "b"], ["a"])


def test_the_likeliest_label_is_per_token():
    text = create("text.bytes")
    vocabulary = Vocabulary.build({"text": text})
    torch.manual_seed(0)
    decoder = Decoder(ModelConfig.preset(1, vocab_size=len(vocabulary), width=32)).eval()
    with torch.no_grad():  # every next id costs the same, but a, which is cheap, and c, which is dear
        decoder.model.norm.weight.zero_()
        decoder.lm_head.weight.zero_()
    sampler = Sampler(decoder, vocabulary, {"text": text})
    question = Document.chat([("user", [segment(text, "What is this?")])])
    assert likeliest(sampler, [question, question], ["bbbbbbbb", "b"]) == ["bbbbbbbb"] * 2  # equal: the first
    a, c = (int(text.encode([letter])[0].ids[0]) for letter in "ac")
    with torch.no_grad():
        decoder.model.norm.weight.fill_(1)
        decoder.model.embed_tokens.weight.fill_(0)
        decoder.model.embed_tokens.weight[:, 0] = 1
        decoder.lm_head.weight[a, 0], decoder.lm_head.weight[c, 0] = 1.0, -1.0
    assert likeliest(sampler, [question], ["c", "b", "aaaaaaaaaaaa"]) == ["aaaaaaaaaaaa"]
    assert likeliest(sampler, [question], ["c", "b"]) == ["b"]
