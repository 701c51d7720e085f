"""Captioning measures: by hand on short texts, and MolT5-small's released captions to their known figures."""

from __future__ import annotations

import math

import pytest

from modalities.common import wordnet
from modalities.molecule.metrics.captioning import CaptionScorer, bleu, meteor, rouge
from modalities.molecule.metrics.pieces import pieces
from modalities.molecule.metrics.predictions import SMILES, read_predictions

pytest.importorskip("nltk", reason="nltk is not installed")
pytest.importorskip("rouge_score", reason="rouge-score is not installed")
pytest.importorskip("tokenizers", reason="tokenizers is not installed")

FILE = "molt5-small-smiles2caption.predictions.txt.zst"
GOLDEN = {"bleu2": 0.5315, "bleu4": 0.4449, "rouge1": 0.6210, "rouge2": 0.4699, "rougeL": 0.5639}
METEOR = 0.5575


def test_bleu_of_one_row_by_hand():
    # 3 of 3 words and 1 of 2 pairs are in the reference, which has 4 words: brevity exp(1 - 4/3)
    found = bleu([["the", "cat", "sat", "on"]], [["the", "cat", "on"]], [(0.5, 0.5)])
    assert found == [pytest.approx(math.sqrt(0.5) * math.exp(-1 / 3))]


def test_bleu_of_nothing_in_common_is_zero():
    assert bleu([["a"]], [["b"]], [(0.5, 0.5), (0.25,) * 4]) == [0, 0]
    assert bleu([["a"]], [[]], [(0.5, 0.5), (0.25,) * 4]) == [0, 0]


def test_rouge_by_hand():
    # words 3 of 4 both ways, pairs 1 of 3, longest common subsequence a b d
    found = rouge(["a b c d"], ["a b x d"])
    assert found == pytest.approx({"rouge1": 3 / 4, "rouge2": 1 / 3, "rougeL": 3 / 4})


def test_meteor_counts_synonyms(synonyms):
    reader = wordnet.reader(wordnet.folder())
    # both words match in one chunk: penalty .5 * (1 / 2)^3
    assert meteor([["the", "car"]], [["the", "auto"]], reader) == pytest.approx(1 - 0.0625)
    # one of two: precision = recall = 1/2, penalty .5
    assert meteor([["the", "car"]], [["the", "bike"]], reader) == pytest.approx(0.25)


def test_pieces_are_those_of_scibert():
    assert pieces(["The Quinoline-4-carboxylate [SEP]", ""]) == [
        ["the", "quin", "##oline", "-", "4", "-", "carboxyl", "##ate"],
        [],
    ]


def test_a_scorer_gives_all_keys_and_says_which_wordnet(synonyms):
    found = CaptionScorer()(["The molecule is an acid."], ["The molecule is an acid."])
    assert {key: found[key] for key in GOLDEN} == pytest.approx(dict.fromkeys(GOLDEN, 1.0))
    assert (found["n"], found["wordnet"]) == (1, "9.9")
    assert found["meteor"] > 0.99
    assert "meteor_reason" not in found


def test_without_wordnet_meteor_is_none_with_the_reason(offline):
    found = CaptionScorer()(["an acid of some kind"], ["an acid of some kind"])
    assert found["meteor"] is None
    assert "wordnet-base" in found["meteor_reason"]
    assert found["bleu2"] == pytest.approx(1.0)


def test_an_empty_output_scores_zero(synonyms):
    found = CaptionScorer()(["an acid"], [""])
    assert [found[key] for key in (*GOLDEN, "meteor")] == [0] * 6


def test_sets_that_do_not_fit_are_refused(offline):
    with pytest.raises(ValueError, match="2 references and 1 outputs"):
        CaptionScorer()(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        CaptionScorer()([], [])


@pytest.mark.slow
def test_the_released_captions_score_as_known(held):
    rows = read_predictions(held / FILE, SMILES)
    found = CaptionScorer()(rows.references, rows.outputs)
    assert found["n"] == 3300
    assert {key: found[key] for key in GOLDEN} == pytest.approx(GOLDEN, abs=0.0005)
    if found["meteor"] is None or found["wordnet"] != "3.0":
        pytest.skip(found.get("meteor_reason") or f"WordNet {found['wordnet']}, the figure is of 3.0")
    assert found["meteor"] == pytest.approx(METEOR, abs=0.0005)
