"""LPIPS and ConvNeXt-S from released files, and the substitute under its own name."""

from __future__ import annotations

import warnings

import pytest
import torch
from released import filled, numbers
from torch import nn
from torch.nn import functional as F

from modalities.common.losses.convnext import ConvNeXtLogits
from modalities.common.losses.lpips import LPIPS
from modalities.common.losses.perceptual import Perceptual
from modalities.common.losses.steerable import Steerable
from modalities.common.weights import WeightsMismatch


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def pair():
    made, wanted = (numbers(name, (2, 3, 64, 64)).float() for name in ("made", "wanted"))
    return F.avg_pool2d(made, 3, 1, 1), F.avg_pool2d(wanted, 5, 1, 2)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """A folder as a user would fill it: VGG-16 with its classifier, linear heads, a note."""
    folder = tmp_path_factory.mktemp("backbones")
    state = filled(shapes(LPIPS()))
    heads = {key: state.pop(key).abs() for key in list(state) if key.startswith("lin")}
    torch.save({**state, "classifier.0.weight": torch.zeros(4, 4)}, folder / "vgg16-397923af.pth")
    torch.save(heads, folder / "vgg.pth")
    (folder / "README.txt").write_text("where these come from")
    return folder


def test_lpips_gives_the_noted_distance(pair, backbones):
    measure = Perceptual({"lpips": 1.0}, backbones)
    assert measure.name == "lpips-vgg"
    # noted from lpips 0.1.4 with the same weights
    assert measure(*pair).item() == pytest.approx(0.0767514, rel=1e-4)
    assert measure(pair[0], pair[0]).item() == 0


def test_lpips_takes_the_names_of_its_own_package(pair, backbones):
    state = {**torch.load(backbones / "vgg16-397923af.pth"), **torch.load(backbones / "vgg.pth")}
    stages = {name: f"net.slice{stage}.{name}" for stage, name in staged(state)}
    renamed = {stages.get(key.removeprefix("features."), key): value for key, value in state.items()}
    assert any(key.startswith("net.slice5.28") for key in renamed)
    found = LPIPS.released({**renamed, "scaling_layer.shift": torch.zeros(1, 3, 1, 1)})
    assert found.keys() == LPIPS().state_dict().keys()


def staged(state):
    """Stage 1 to 5 and "N.weight" of every convolution."""
    for key in state:
        if key.startswith("features."):
            name = key.removeprefix("features.")
            number = int(name.partition(".")[0])
            yield 1 + sum(number > end for end in (3, 8, 15, 22)), name


def test_lpips_has_a_gradient_everywhere_and_learns_nothing_itself(pair, backbones):
    measure = Perceptual(None, backbones).train()
    black = torch.zeros(1, 3, 32, 32, requires_grad=True)
    measure(black, torch.zeros(1, 3, 32, 32)).backward()
    assert black.grad.isfinite().all()
    made = pair[0].clone().requires_grad_()
    measure(made, pair[1]).backward()
    assert made.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in measure.parameters())
    assert not measure.measures[0].training


def test_convnext_gives_the_noted_logits_and_joins_lpips(pair, backbones, tmp_path):
    for file in backbones.glob("*.pth"):
        (tmp_path / file.name).symlink_to(file)
    torch.save(filled(shapes(ConvNeXtLogits())), tmp_path / "convnext_small-0c510722.pth")
    measure = Perceptual({"lpips": 1.0, "convnext-s": 0.1}, tmp_path)
    assert measure.name == "0.909*lpips-vgg+0.0909*convnext-s"
    with torch.no_grad():
        logits = measure.measures[1].logits(pair[0][:1])
        both = measure(*pair).item()
    # noted from torchvision 0.28 with the same weights
    noted = [0.0701725, -0.1145035, 0.2640060, -1.6299158, 0.5666009]
    assert logits[0, :5].tolist() == pytest.approx(noted, abs=1e-4)
    assert both == pytest.approx((0.0767514 + 0.1 * 0.0502446) / 1.1, rel=1e-3)


def test_without_a_folder_it_says_so_once_and_names_the_substitute(pair):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(2):
            measure = Perceptual({"lpips": 1.0, "convnext-s": 0.1})
    assert len(said) == 1
    for word in ("vgg16", "lin*", "convnext_small", "not LPIPS", "one folder"):
        assert word in str(said[0].message)
    assert measure.name == "steerable-ms"
    assert not measure.state_dict()
    assert measure(*pair).item() == pytest.approx(Steerable()(*pair).item())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Perceptual({"steerable-ms": 2.0}).name == "steerable-ms"


def test_a_folder_must_hold_what_is_asked_for(backbones, tmp_path):
    with pytest.raises(ValueError, match="holds nothing of convnext-s"):
        Perceptual({"convnext-s": 1.0}, backbones)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        Perceptual(None, tmp_path / "none")
    (tmp_path / "vgg16.pth").symlink_to(backbones / "vgg16-397923af.pth")
    with pytest.raises(WeightsMismatch, match=r"missing lin0\.model\.1\.weight"):
        Perceptual(None, tmp_path)
    (tmp_path / "copy.pth").symlink_to(backbones / "vgg16-397923af.pth")
    with pytest.raises(ValueError, match="twice"):
        Perceptual(None, tmp_path)


@pytest.mark.parametrize("parts", [{"vgg": 1.0}, {}, {"lpips": -1.0}, {"lpips": 0.0}])
def test_measures_must_be_known_and_weigh_something(parts):
    with pytest.raises(ValueError, match="one or more of lpips, convnext-s, steerable-ms"):
        Perceptual(parts)


def scenes(side=96):
    """Pictures with soft shapes, edges and grain."""
    shapes = F.interpolate(numbers("shapes", (4, 3, 6, 6)).float(), size=side, mode="bicubic")
    edges = (F.interpolate(numbers("edges", (4, 1, 8, 8)).float(), size=side, mode="bilinear") > 0.5).float()
    return (0.5 * shapes + 0.3 * edges + 0.1 * numbers("grain", (4, 3, side, side)).float()).clamp(0, 1)


def test_the_substitute_orders_damage_as_eyes_do_at_equal_squared_error():
    wanted = scenes()
    changes = {
        "brightness": torch.ones_like(wanted),
        "contrast": wanted - wanted.mean((2, 3), keepdim=True),
        "blur": F.avg_pool2d(F.pad(wanted, (3, 3, 3, 3), "reflect"), 7, 1) - wanted,
        "noise": numbers("noise", tuple(wanted.shape)).float() - 0.5,
    }
    found = {}
    for name, change in changes.items():
        change = change * (0.001 / change.square().mean()) ** 0.5
        found[name] = Steerable()(wanted + change, wanted).item()
    assert found["brightness"] < found["contrast"] < found["blur"] < found["noise"]
    assert Steerable()(wanted, wanted).item() == 0
    assert Steerable()(wanted.roll(1, 0), wanted).item() > 2 * found["noise"]


def test_following_the_substitute_leads_to_the_picture():
    wanted = scenes(32)
    made = nn.Parameter(F.avg_pool2d(wanted, 5, 1, 2))
    measure = Steerable()
    learn = torch.optim.Adam([made], 0.01)
    before = (made - wanted).square().mean().item()
    for _ in range(60):
        learn.zero_grad()
        measure(made, wanted).backward()
        learn.step()
    assert made.grad.isfinite().all()
    assert (made - wanted).square().mean().item() < 0.4 * before


def test_the_substitute_works_down_to_16_pixels_and_says_what_is_smaller():
    picture = numbers("small", (1, 3, 16, 24)).float()
    assert Steerable()(picture, picture).item() == 0
    assert Steerable().statistics(picture).shape == (1, 7 * 2 + 12)
    with pytest.raises(ValueError, match="12 pixels are too small"):
        Steerable()(picture[..., :12], picture[..., :12])
    assert torch.isfinite(Steerable().statistics(torch.zeros(1, 3, 32, 32))).all()
