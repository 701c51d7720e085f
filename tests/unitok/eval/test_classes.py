"""Order of two classes: the AUC's laws, and that it comes from the model's own likelihoods."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unitok import Document
from unitok.data.sources import Record
from unitok.document import segment
from unitok.eval.classes import auc, ordered

pairs = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40)


@given(pairs)
def test_auc_counts_pairs(rows):
    above = [score for score, positive in rows if positive]
    below = [score for score, positive in rows if not positive]
    found = auc([score for score, _ in rows], [positive for _, positive in rows])
    if not above or not below:
        assert math.isnan(found)
        return
    wins = np.mean([(a > b) + (a == b) / 2 for a in above for b in below])
    assert found == pytest.approx(wins)
    assert auc([-score for score, _ in rows], [p for _, p in rows]) == pytest.approx(1 - wins)


def record(number, answer):
    turns = [{"role": "user", "content": f"Is it {number}?"}, {"role": "assistant", "content": answer}]
    return Record(str(number), {"turns": turns}, f"file:{number}", Path())


def test_the_odds_are_the_models(world, random_decoder):
    vocabulary, modalities = world
    odds = []
    for number in range(12):
        costs = []
        for word in ("no", "yes"):
            asked = ("user", [segment(modalities["text"], f"Is it {number}?")])
            one = Document.chat([asked, ("assistant", [segment(modalities["text"], word)])]).render(
                vocabulary
            )
            ids = one.ids[None]
            with torch.no_grad():
                hidden = random_decoder(ids, torch.zeros_like(ids), torch.arange(ids.shape[1])[None])
            lost = (
                -random_decoder.logits(hidden[0, :-1])
                .detach()
                .log_softmax(-1)
                .gather(1, ids[0, 1:, None])
                .squeeze(1)
            )
            costs.append(float((lost * (one.weight[1:] > 0)).sum()))
        odds.append(costs[0] - costs[1])
    likely = sorted(range(12), key=odds.__getitem__)[6:]
    wanted = ["yes" if number in likely else "no" for number in range(12)]
    records = [record(number, answer) for number, answer in enumerate(wanted)]
    assert ordered(random_decoder, vocabulary, modalities, records, wanted) == {"auc": 1.0, "positive": "yes"}
    turned = ["no" if answer == "yes" else "yes" for answer in wanted]
    assert ordered(random_decoder, vocabulary, modalities, records, turned)["auc"] == 0.0


@pytest.mark.parametrize("wanted", [["a", "a"], ["a", "b", "c"]])
def test_other_numbers_of_classes_have_none(world, random_decoder, wanted):
    records = [record(number, answer) for number, answer in enumerate(wanted)]
    assert ordered(random_decoder, *world, records, wanted) == {}
