"""Retrieval figures on vectors whose ranks are known."""

from __future__ import annotations

import pytest
import torch

from modalities.image.retrieval import chance, ranks, retrieval


def test_perfect_pairs_are_found_at_once_and_reversed_ones_late() -> None:
    eye = torch.eye(20)
    found = retrieval(eye, eye)
    assert found["i2t_r1"] == found["t2i_r10"] == 1.0
    assert found["i2t_median"] == 1.0
    assert ranks(-eye, eye).tolist() == [20.0] * 20


def test_ranks_count_what_is_nearer() -> None:
    angles = torch.tensor([0.0, 1.0, 2.0])
    images = torch.stack([angles.cos(), angles.sin()], dim=1)
    turned = angles + torch.tensor([0.0, 0.9, 0.0])  # the second text lies near the third image
    texts = torch.stack([turned.cos(), turned.sin()], dim=1)
    assert ranks(texts, images).tolist() == [1.0, 2.0, 1.0]  # seen from it, the third is nearer than its own
    assert ranks(images, texts).tolist() == [1.0, 1.0, 1.0]


def test_equal_vectors_share_the_mean_rank_so_nothing_is_won_by_giving_one_answer() -> None:
    found = retrieval(torch.randn(9, 4), torch.ones(9, 4))
    assert found["i2t_r1"] == 0.0
    assert found["i2t_median"] == 5.0
    assert chance(9) == {"chance r1": 1 / 9, "chance r5": 5 / 9, "chance r10": 1.0, "chance median": 5.0}


def test_vectors_that_are_no_pairs_are_refused() -> None:
    for images, texts in ((torch.ones(2, 3), torch.ones(3, 3)), (torch.ones(0, 3), torch.ones(0, 3))):
        with pytest.raises(ValueError, match="retrieval needs pairs"):
            retrieval(images, texts)
