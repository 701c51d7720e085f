"""Likelihoods of answers: what training would count, whatever else is measured beside."""

import pytest
import torch

from unitok import Document
from unitok.document import segment
from unitok.eval.likelihood import TOKENS, likelihoods


@pytest.fixture
def seg(world):
    return lambda name, item: segment(world[1][name], item)


@pytest.fixture
def question(seg):
    return lambda said: Document.chat([("user", [seg("image", [1, 2, 3, 4]), seg("text", said)])])


def alone(decoder, vocabulary, asked, answer):
    """The same by the definition: one document, one token after the other."""
    turns = [("user", asked.segments), ("assistant", answer)]
    one = Document.chat(turns).render(vocabulary)
    nats = 0.0
    for at in range(1, len(one.ids)):
        if one.weight[at] > 0:
            head = one.ids[None, :at]
            with torch.no_grad():
                hidden = decoder(head, torch.zeros_like(head), torch.arange(at)[None])
                nats -= float(decoder.logits(hidden[0, -1]).log_softmax(-1)[one.ids[at]])
    return nats, int((one.weight > 0).sum())


def test_they_are_those_of_each_document_alone(random_decoder, world, seg, question):
    asked = [question("What?"), question("And what else is to be seen?")]
    answers = [
        [[seg("text", "a cat")], [seg("text", "nothing at all")], [seg("image", [5, 5, 5, 5])]],
        [[seg("text", "x"), seg("image", [0, 1, 2, 3])]],
    ]
    found = likelihoods(random_decoder, world[0], list(zip(asked, answers, strict=True)))
    assert [len(one) for one in found] == [3, 1]
    for one, several, costs in zip(asked, answers, found, strict=True):
        for answer, cost in zip(several, costs, strict=True):
            nats, tokens = alone(random_decoder, world[0], one, answer)
            assert cost.nats == pytest.approx(nats, rel=1e-4)
            assert cost.tokens == tokens


def test_many_go_through_in_pieces(random_decoder, world, seg, question):
    said = "what is it " * 60
    answers = [[seg("text", said + letter)] for letter in "abcdefghijklmnopqrst"]
    [costs] = likelihoods(random_decoder, world[0], [(question("What?"), answers)])
    assert sum(cost.tokens for cost in costs) > TOKENS
    [[last]] = likelihoods(random_decoder, world[0], [(question("What?"), answers[-1:])])
    assert costs[-1].nats == pytest.approx(last.nats, rel=1e-5)


def test_nothing_asked_costs_nothing(random_decoder, world):
    assert likelihoods(random_decoder, world[0], []) == []
