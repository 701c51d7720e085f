"""Measures of generated sets, reconstructions and classes, on clouds whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from modalities.pointcloud.metrics.classes import latents, probe, trained
from modalities.pointcloud.metrics.generation import compare, distances
from modalities.pointcloud.metrics.reconstruction import agreement, evaluate
from modalities.pointcloud.metrics.report import even, halves, read_set
from modalities.pointcloud.sample import unit_sphere
from modalities.pointcloud.tokenizer import PointTokenizer


def boxes(count: int, seed: int, points: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sides = 0.2 + torch.rand(count, 1, 3, generator=generator)
    return unit_sphere((2 * torch.rand(count, points, 3, generator=generator) - 1) * sides).points


def test_distances_are_sums_of_mean_squared_gaps() -> None:
    a, b = torch.zeros(1, 2, 3), torch.tensor([[[1.0, 0, 0], [3, 0, 0]], [[0.0, 0, 0], [0, 2, 0]]])
    # from a: 1 each; back: (1 + 9) / 2.  Second: from a 0; back (0 + 4) / 2
    assert distances(a, b)[0].tolist() == pytest.approx([1 + 5, 0 + 2], abs=1e-4)


def test_a_copied_set_covers_all_and_one_cloud_repeated_covers_one() -> None:
    reference = boxes(12, 0)
    copied = compare(reference.clone(), reference)
    assert copied["mmd"] == pytest.approx(0, abs=1e-5)
    assert copied["coverage"] == 1
    assert copied["1-nna"] == 0  # each cloud's nearest is its copy in the other set
    repeated = compare(reference[:1].expand(12, -1, -1), reference)
    assert repeated["coverage"] == pytest.approx(1 / 12)
    assert repeated["mmd"] > copied["mmd"]
    far = compare(reference[:6] * 0.1 + 5, reference)
    assert far["1-nna"] == 1


def test_two_draws_of_one_kind_are_hard_to_tell_apart() -> None:
    found = compare(boxes(40, 1), boxes(40, 2))
    assert 0.3 < found["1-nna"] < 0.7
    assert found["coverage"] > 0.3


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="thin them"):
        compare(boxes(2, 0, 16), boxes(2, 0, 32))
    with pytest.raises(ValueError, match="generated cloud 1 is not finite"):
        compare(boxes(2, 0).index_fill(0, torch.tensor([1]), torch.nan), boxes(2, 0))
    with pytest.raises(ValueError, match=r"reference clouds of shape \[0"):
        compare(boxes(2, 0), boxes(2, 0)[:0])


def test_agreement_with_itself_is_perfect() -> None:
    found = agreement(boxes(3, 0), boxes(3, 0))
    assert found["cd1"] < 1e-3
    assert found["f_0.02"] == found["f_0.05"] == 1


def test_more_codes_bring_furniture_nearer_and_none_beats_the_floor(heldout: list[Tensor]) -> None:
    given, others = halves(torch.stack(heldout[:12]))
    seen: list[int] = []
    found = evaluate(PointTokenizer(), given, others, (4, 64, 128), seen.append)
    report = found.report
    assert list(report["tokens"]) == ["4", "64"]
    assert report["points"] == 512
    four, all_of_them = report["tokens"]["4"], report["tokens"]["64"]
    floor, other = report["floor (another sampling)"], report["another object"]
    assert floor["cd1"] < all_of_them["cd1"] < four["cd1"] < other["cd1"]
    assert floor["f_0.05"] > all_of_them["f_0.05"] > other["f_0.05"]
    assert seen == [12]
    assert found.codes.shape == (12, 64)
    assert latents(PointTokenizer(), found.codes).shape == (12, 64 * 4)
    assert report["bits"] == pytest.approx(64 * np.log2(240))
    with pytest.raises(ValueError, match="no count is one of 1 to 64"):
        evaluate(PointTokenizer(), given, others, (65,))


def test_the_probe_finds_what_is_linear_and_nothing_in_noise() -> None:
    torch.manual_seed(0)
    labels = torch.arange(90) % 3
    noise = torch.randn(90, 8)
    told = noise + 4 * torch.nn.functional.one_hot(labels, 8)
    assert probe(told[:60], labels[:60], told[60:], labels[60:]) > 0.9
    assert probe(noise[:60], labels[:60], noise[60:], labels[60:]) < 0.7


def test_the_classifier_learns_two_shapes() -> None:
    flat = boxes(24, 0) * torch.tensor([1.0, 1, 0.05])
    tall = boxes(24, 1) * torch.tensor([0.1, 0.1, 1])
    clouds, labels = torch.cat([flat, tall]), torch.arange(48) // 24
    net = trained(clouds[::2], labels[::2], steps=40)
    assert net.accuracy(clouds[1::2], labels[1::2]) > 0.9
    assert 0.2 < trained(clouds[::2], labels[::2], steps=0).accuracy(clouds, labels) < 0.8


def test_sets_are_read_from_folders_and_arrays(tmp_path: Path) -> None:
    made = boxes(3, 0).numpy()
    np.savez(tmp_path / "made.npz", points=made)
    folder = tmp_path / "clouds"
    folder.mkdir()
    with pytest.raises(ValueError, match="holds no clouds"):
        read_set(folder, 16)
    for number, cloud in enumerate(made):
        np.save(folder / f"{number}.npy", cloud)
    one, two = read_set(tmp_path / "made.npz", 16), read_set(folder, 16)
    assert one.shape == (3, 16, 3)
    assert one.equal(two)
    np.save(folder / "4.npy", np.ones((5, 3), np.float32))
    with pytest.raises(ValueError, match=r"4.npy has all its points in one place"):
        read_set(folder, 16)
    np.savez(tmp_path / "two.npz", a=made, b=made)
    with pytest.raises(ValueError, match="a, b, none of them called 'points'"):
        read_set(tmp_path / "two.npz", 16)


def test_even_steps_and_halves() -> None:
    assert even(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert even(3, 5).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="no two halves"):
        halves(torch.zeros(2, 1, 3))
