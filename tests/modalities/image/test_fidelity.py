"""PSNR, SSIM and Frechet distances: against formulas, scikit-image and pytorch-fid."""

from __future__ import annotations

import math

import pytest
import torch
from released import filled, numbers
from torch.nn import functional as F

from modalities.common.weights import WeightsMismatch
from modalities.image import fidelity
from modalities.image.fidelity import feature_space, floor, frechet, psnr, ssim
from modalities.image.inception import Inception


@pytest.fixture(scope="module")
def pair():
    """Two noisy pictures and a blurred, noisier form of each."""
    wanted = numbers("wanted", (2, 3, 40, 52)).float()
    noise = 0.1 * (numbers("noise", (2, 3, 40, 52)).float() - 0.5)
    return (F.avg_pool2d(wanted, 3, 1, 1) + noise).clamp(0, 1), wanted


def test_psnr_and_ssim_are_those_of_scikit_image(pair):
    # noted from scikit-image 0.26: gaussian_weights, sigma 1.5, use_sample_covariance False, data_range 1
    assert psnr(*pair).tolist() == pytest.approx([11.039912348, 11.212738044], abs=1e-5)
    assert ssim(*pair).tolist() == pytest.approx([0.143664986, 0.171543960], abs=1e-6)


def test_equal_pictures_have_the_best_values(pair):
    _, wanted = pair
    assert psnr(wanted, wanted).tolist() == [100, 100]
    assert ssim(wanted, wanted).tolist() == pytest.approx([1, 1])
    half = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(half + 0.1, half).item() == pytest.approx(20, abs=1e-4)
    assert psnr(half + 7, half).item() == pytest.approx(-10 * math.log10(0.25), abs=1e-4)  # clamped to 1


def test_ssim_needs_its_window():
    with pytest.raises(ValueError, match="11 pixels or more"):
        ssim(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


def normal(count, width, seed):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(rows):
    """Rows of mean 0 and covariance 1."""
    rows = rows - rows.mean(0)
    return rows @ torch.linalg.inv(torch.linalg.cholesky(rows.T @ rows / (len(rows) - 1))).T


def test_frechet_is_its_formula_for_known_gaussians():
    rows = whitened(normal(400, 3, 0))
    scales, shift = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([1.0, 0.0, -2.0]).double()
    assert frechet(rows, rows * scales + shift) == pytest.approx(5 + 0 + 1 + 0.25, rel=1e-6)
    turn = torch.linalg.qr(normal(3, 3, 1))[0]
    assert frechet(rows @ turn, (rows * scales + shift) @ turn) == pytest.approx(6.25, rel=1e-6)
    assert frechet(rows, rows) == pytest.approx(0, abs=1e-9)


def test_frechet_of_matrices_that_do_not_commute():
    a, b = normal(300, 4, 2) @ normal(4, 4, 3), normal(300, 4, 4) @ normal(4, 4, 5)
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values = torch.linalg.eigvals(cov_a @ cov_b).real
    wanted = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * values.sqrt().sum()
    assert frechet(a, b) == pytest.approx(wanted.item(), rel=1e-6)
    assert frechet(b, a) == pytest.approx(wanted.item(), rel=1e-6)


def test_few_pictures_are_shrunk_and_noise_costs_less():
    one, two = normal(24, 48, 6), normal(24, 48, 7)
    plain_one, plain_two = torch.cov(one.T), torch.cov(two.T)
    values = torch.linalg.eigvals(plain_one @ plain_two).real.clamp(min=0)
    plain = plain_one.trace() + plain_two.trace() - 2 * values.sqrt().sum()
    assert frechet(one, two) < 0.2 * plain.item()
    assert frechet(one, two + 3) > 9 * 48 * 0.8


def test_the_floor_is_repeatable_and_shrinks_with_the_number_of_pictures():
    rows = normal(2000, 8, 8)
    assert floor(rows) == floor(rows)
    assert floor(rows) < floor(rows[:200]) < floor(rows[:40])
    assert floor(rows[:3]) is None
    with pytest.raises(ValueError, match="1 and 5 pictures"):
        frechet(rows[:1], rows[:5])


def test_the_substitute_feels_blur_noise_and_colour_and_says_its_name():
    space = feature_space()
    assert space.name == "frechet-steerable"
    pictures = F.interpolate(numbers("scenes", (24, 3, 12, 12)).float(), size=64, mode="bicubic")
    pictures = (pictures + 0.2 * numbers("grain", (24, 3, 64, 64)).float()).clamp(0, 1)
    real = space.features(pictures)
    assert real.shape == (24, 7 * 4 + 12)
    damaged = {
        "blur": F.avg_pool2d(pictures, 5, 1, 2),
        "noise": pictures + 0.2 * numbers("noise", tuple(pictures.shape)).float(),
        "colour": pictures * torch.tensor([1.0, 0.6, 0.6])[:, None, None],
    }
    for name, made in damaged.items():
        assert frechet(space.features(made), real) > 0.3, name
    assert frechet(space.features(pictures + 0.002), real) < 0.01


def test_inception_gives_the_noted_features_and_its_file_names_the_space(tmp_path):
    network = Inception()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state = filled({name: shape for name, shape in shapes.items() if not name.endswith("tracked")})
    state = {key: value.abs() + 0.5 if key.endswith("var") else value for key, value in state.items()}
    torch.save(state, tmp_path / "mine.pth")
    space = feature_space(tmp_path / "mine.pth")
    assert space.name == "frechet-mine"
    with torch.no_grad():
        found = space.features(numbers("seen", (2, 3, 64, 48)).float())
    # noted from pytorch-fid 0.3.0 with the same weights
    noted = [0.96037, 0.03949, 0.38854, 0.18946, 0.07246, 0.0384, 0.20127, 0.24341]
    assert found.shape == (2, 2048)
    assert found[0, ::256].tolist() == pytest.approx(noted, abs=2e-5)
    assert found.mean().item() == pytest.approx(0.208784, abs=1e-5)


def test_only_the_right_file_is_called_fid(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"some bytes")
    assert not fidelity.is_fid(tmp_path / "weights.pth")
    monkeypatch.setattr(fidelity, "FID_SHA256", "5e9b1c")  # not of these bytes either
    assert not fidelity.is_fid(tmp_path / "weights.pth")
    digest = fidelity.hashlib.sha256(b"some bytes").hexdigest()
    monkeypatch.setattr(fidelity, "FID_SHA256", digest[:8])
    assert fidelity.is_fid(tmp_path / "weights.pth")


def test_a_file_of_another_network_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="FID needs"):
        feature_space(tmp_path / "none.pth")
    torch.save({"fc.weight": torch.zeros(2, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsMismatch, match="another model"):
        feature_space(tmp_path / "other.pth")
