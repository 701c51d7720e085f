"""The linear probe: separable classes are named, noise is not, and features come from the middle layer."""

from __future__ import annotations

import pytest
import torch

from modalities.image.generate.gpt import GPT, GPTConfig
from modalities.image.generate.probe import LARS, ProbeTraining, accuracy, fit, read

QUICK = ProbeTraining(epochs=40, warmup=4, rate=10.0, rows=64)


@pytest.fixture(scope="module")
def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(tokens=6, codes=12, classes=3, width=32, layers=4, heads=4, hidden=64)).eval()


def toy(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of three classes, each with codes of its own, in any order."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=chance)
    return 4 * labels[:, None] + torch.randint(4, (count, 6), generator=chance), labels


def test_classes_with_codes_of_their_own_are_told_apart(gpt):
    (codes, labels), (held, wanted) = toy(256, 0), toy(128, 1)
    torch.manual_seed(0)
    probe = fit(read(gpt, codes), labels, 3, QUICK, torch.Generator().manual_seed(0))
    assert accuracy(probe, read(gpt, held), wanted) > 0.97
    shuffled = labels[torch.randperm(256, generator=torch.Generator().manual_seed(2))]
    blind = fit(read(gpt, codes), shuffled, 3, QUICK, torch.Generator().manual_seed(0))
    assert accuracy(blind, read(gpt, held), wanted) < 0.6


def test_features_are_averages_of_the_middle_layer_without_a_class(gpt):
    codes, _ = toy(5, 3)
    with torch.no_grad():
        wanted = gpt.states(codes[:, :-1], torch.full((5,), -1), layer=2).mean(1)
    torch.testing.assert_close(read(gpt, codes, rows=2), wanted)
    assert not read(gpt, codes, layer=1).equal(read(gpt, codes))
    changed = codes.clone()
    changed[:, -1] = 0  # the last code is never read
    assert read(gpt, changed).equal(read(gpt, codes))


def test_a_matrix_moves_in_proportion_to_its_norm():
    matrix, vector = (torch.nn.Parameter(torch.full(shape, 2.0)) for shape in ((3, 3), (3,)))
    optimizer = LARS([matrix, vector], lr=0.5)
    for step in (1, 2):
        matrix.grad, vector.grad = torch.ones(3, 3), torch.ones(3)
        before, norm = matrix.detach().clone(), float(matrix.detach().norm())
        optimizer.step()
        if step == 1:  # a gradient of norm 3 becomes 0.001 * norm
            torch.testing.assert_close(before - matrix, torch.full((3, 3), 0.5 * 0.001 * norm / 3))
    torch.testing.assert_close(vector.detach(), torch.full((3,), 2.0 - 0.5 - 0.5 * 1.9))


def test_labels_must_fit():
    with pytest.raises(ValueError, match=r"labels of shape \[3\] for features \[4, 2\]"):
        fit(torch.zeros(4, 2), torch.zeros(3, dtype=torch.long), 3)
    with pytest.raises(ValueError, match="labels from 0 to 3 for 3 classes"):
        fit(torch.zeros(4, 2), torch.arange(4), 3)
