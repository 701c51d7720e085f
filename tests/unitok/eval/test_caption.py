"""Caption measures: laws, and the numbers that the COCO evaluation gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unitok.eval.caption import cider, measures, rouge_l

QA = Path(__file__).parents[4] / "shared" / "data" / "pointcloud" / "qa"


def test_a_perfect_set():
    texts = ["a red car on the road", "two dogs run in the snow", "the sea under a grey sky"]
    found = measures(texts, [[text] for text in texts])
    assert found["bleu4"] == pytest.approx(1, abs=1e-6)
    assert found["rouge_l"] == pytest.approx(1)
    assert found["cider"] == pytest.approx(10)


def test_a_set_of_strangers_is_worth_nothing():
    found = measures(["x y z w v", "u t s"], [["a b c d e"], ["f g h"]])
    assert all(value < 1e-3 for value in found.values()), found


def test_more_references_help_and_empty_answers_do_not_break():
    wanted = [["a dog runs", "the hound is running fast"], ["a cat", "one cat sits"]]
    one = measures(["the hound is running", "a cat"], [texts[:1] for texts in wanted])
    both = measures(["the hound is running", "a cat"], wanted)
    assert both["bleu1"] > one["bleu1"]
    assert measures(["", ""], wanted)["cider"] == 0


def test_brevity_is_judged_by_the_nearest_length():
    short = measures(["a b"], [["a b c d e f g h", "a b"]])
    assert short["bleu2"] == pytest.approx(1, abs=1e-6)


def test_rouge_by_hand():
    # 3 of 4 words in order, the reference has 5: P 0.75, R 0.6, beta 1.2
    assert rouge_l(["a", "b", "x", "d"], [["a", "b", "c", "d", "e"]]) == pytest.approx(
        2.44 * 0.75 * 0.6 / (0.6 + 1.44 * 0.75)
    )


def test_cider_of_a_single_item_is_zero_for_every_gram_is_in_every_item():
    assert cider([["a", "b"]], [[["a", "b"]]]) == 0


def test_bad_input():
    with pytest.raises(ValueError, match="one of each"):
        measures(["a"], [])
    with pytest.raises(ValueError, match="no reference"):
        measures(["a"], [[]])


def test_numbers_of_the_coco_evaluation():
    if not QA.is_dir():
        pytest.skip("the question answering files are not beside this checkout")
    rows = json.loads((QA / "ScanQA_v1.0_val.json").read_text())
    answers = [row["answers"] for row in rows]
    written = [answers[i if i % 2 == 0 else 7 * i % len(answers)][0] for i in range(len(answers))]
    found = measures(written, answers)
    noted = {
        "bleu1": 0.526825, "bleu2": 0.511840, "bleu3": 0.504785, "bleu4": 0.502126,
        "rouge_l": 0.525629, "cider": 1.676344,
    }  # fmt: skip
    assert found == pytest.approx(noted, abs=2e-6)
