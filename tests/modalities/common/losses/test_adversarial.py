"""Discriminators, hinge losses, LeCam, and augmentation."""

from __future__ import annotations

import pytest
import torch
from released import filled, numbers
from torch import nn
from torch.nn import functional as F

from modalities.common.losses import Adversarial, Augment, build_discriminator
from modalities.common.losses.adversarial import hinge_discriminator, hinge_generator
from modalities.common.losses.discriminators import Blur


def pictures(name: str, count: int = 2, side: int = 32):
    return numbers(name, (count, 3, side, side)).float()


class Mean(nn.Module):
    """A discriminator of one weight: that times the mean of a picture."""

    def __init__(self, weight=2.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return self.weight * x.mean((1, 2, 3))


def test_hinge_losses_are_their_formulas():
    made, wanted = torch.tensor([-2.0, 0.5]), torch.tensor([3.0, 0.25])
    assert hinge_generator(made).item() == pytest.approx(0.75)
    assert hinge_discriminator(made, wanted).item() == pytest.approx(0.5 * (0.75 / 2 + 1.5 / 2))


# the official modules' logits, with the weights of `filled` in the order of their state dicts
NOTED = {
    "titok": (16, [-0.020927, 0.175163, 0.323544, 0.108499, 0.310554, 0.32056, 0.180645, -0.030769]),
    "patch": (6, [0.572213, -1.498348]),
}


@pytest.mark.parametrize("kind", ["titok", "patch"])
def test_discriminators_give_the_noted_logits(kind):
    network = build_discriminator(kind)
    network.load_state_dict({**network.state_dict(), **filled_of(network)})
    logits = network(pictures("judged", side=64))
    side, noted = NOTED[kind]
    assert logits.shape == (2, 1, side, side)
    assert logits.flatten()[::37][: len(noted)].tolist() == pytest.approx(noted, rel=1e-4, abs=1e-5)


def filled_of(network):
    return filled({name: tuple(t.shape) for name, t in network.state_dict().items() if t.is_floating_point()})


def test_an_unknown_discriminator_is_named():
    with pytest.raises(ValueError, match="'style'"):
        build_discriminator("style")


@pytest.mark.parametrize("side", [8, 9])
def test_blur_halves_and_keeps_a_constant(side):
    out = Blur()(torch.ones(1, 2, side, side))
    assert out.shape == (1, 2, -(-side // 2), -(-side // 2))
    assert out[0, 0, 1:-1, 1:-1].tolist() == torch.ones_like(out[0, 0, 1:-1, 1:-1]).tolist()


def test_each_side_learns_from_its_own_loss_alone():
    adversarial = Adversarial(build_discriminator("patch", 8))
    made = pictures("made").requires_grad_()
    adversarial.generator(made, 0).backward()
    assert made.grad.abs().sum() > 0
    assert all(p.grad is None for p in adversarial.parameters())
    made.grad = None
    adversarial.discriminate(made, pictures("wanted"), 0).backward()
    assert made.grad is None
    weights = [p for p in adversarial.parameters() if p.dim() > 1]  # a bias may pull both ways alike
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_the_generators_pass_leaves_no_trace():
    adversarial = Adversarial(build_discriminator("patch", 8))
    before = {name: tensor.clone() for name, tensor in adversarial.state_dict().items()}
    adversarial.generator(pictures("made"), 0)
    assert all(torch.equal(before[name], tensor) for name, tensor in adversarial.state_dict().items())


def test_nothing_happens_before_the_start():
    adversarial = Adversarial(Mean(), start=10)
    made, wanted = pictures("made"), pictures("wanted")
    assert adversarial.generator(made, 9) == 0
    assert adversarial.discriminate(made, wanted, 9) == 0
    assert adversarial.wanted_mean == 0
    assert adversarial.generator(made, 10) != 0
    assert adversarial.discriminate(made, wanted, 10) != 0


def test_lecam_compares_with_the_means_of_the_steps_before():
    adversarial = Adversarial(Mean(), lecam=0.1, decay=0.9)
    made, wanted = torch.full((2, 3, 4, 4), 0.25), torch.full((2, 3, 4, 4), 0.75)  # logits 0.5 and 1.5
    plain = hinge_discriminator(torch.tensor(0.5), torch.tensor(1.5))
    first = adversarial.discriminate(made, wanted, 0)  # means are 0: relu(1.5 - 0)^2 + relu(0 - 0.5)^2
    assert first.item() == pytest.approx(plain.item() + 0.1 * 1.5**2)
    assert adversarial.made_mean.item() == pytest.approx(0.05)
    assert adversarial.wanted_mean.item() == pytest.approx(0.15)
    second = adversarial.discriminate(made, wanted, 1)
    assert second.item() == pytest.approx(plain.item() + 0.1 * (1.5 - 0.05) ** 2)
    adversarial.eval()
    adversarial.discriminate(made, wanted, 2)
    assert adversarial.made_mean.item() == pytest.approx(0.05 * 0.9 + 0.05)


def test_a_discriminator_learns_to_tell_and_made_pictures_to_fool():
    torch.manual_seed(0)
    adversarial = Adversarial(build_discriminator("titok", 32), lecam=1e-3, augment=Augment())
    wanted = pictures("wanted", 4)
    made = nn.Parameter(F.avg_pool2d(wanted, 5, 1, 2))
    learn = torch.optim.Adam(adversarial.parameters(), 1e-3)
    for step in range(30):
        learn.zero_grad()
        adversarial.discriminate(made, wanted, step).backward()
        learn.step()
    before = adversarial.discriminate(made, wanted, 30).item()
    assert before < 0.6  # it begins at 1
    fool = torch.optim.Adam([made], 1e-2)
    for step in range(20):
        fool.zero_grad()
        adversarial.generator(made, step).backward()
        fool.step()
    assert adversarial.discriminate(made, wanted, 30).item() > before + 0.1


def test_augmentation_draws_for_each_picture_and_keeps_the_gradient():
    one = pictures("one", 1, 16).expand(6, -1, -1, -1).clone().requires_grad_()
    out = Augment()(one, torch.Generator().manual_seed(0))
    assert out.shape == one.shape
    assert len({tuple(each.flatten().tolist()) for each in out.detach()}) == 6
    out.sum().backward()
    assert (one.grad.flatten(1).abs().sum(1) > 0).all()
    again = Augment()(one, torch.Generator().manual_seed(0))
    assert torch.equal(out, again)


def test_a_shift_moves_whole_pictures_onto_grey():
    picture = pictures("one", 64, 16)
    out = Augment(color=False, shift=0.25, cutout=0)(picture, torch.Generator().manual_seed(0))
    seen = set()
    for before, after in zip(picture, out, strict=True):
        fits = [
            (dy, dx)
            for dy in range(-4, 5)
            for dx in range(-4, 5)
            if torch.equal(moved(before, dy, dx), after)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert {dy for dy, _ in seen} == set(range(-4, 5))
    assert {dx for _, dx in seen} == set(range(-4, 5))


def moved(picture, dy, dx):
    padded = F.pad(picture, (4, 4, 4, 4), value=0.5)
    return padded[:, 4 + dy : 20 + dy, 4 + dx : 20 + dx]


def test_a_cutout_is_a_grey_rectangle_of_its_size_at_most():
    out = Augment(color=False, shift=0, cutout=0.5)(
        torch.zeros(32, 3, 16, 16), torch.Generator().manual_seed(0)
    )
    holes = (out == 0.5).flatten(1).sum(1) // 3
    assert holes.max() == 64
    assert holes.min() >= 16
    assert set(out.unique().tolist()) == {0.0, 0.5}


def test_colour_keeps_the_picture_and_the_defaults_of_zero_keep_everything():
    picture = pictures("one", 8, 16)
    out = Augment(shift=0, cutout=0)(picture, torch.Generator().manual_seed(0))
    luma = lambda x: x.mean(1).flatten(1)  # noqa: E731
    for before, after in zip(luma(picture), luma(out), strict=True):
        assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.999
    assert torch.equal(Augment(False, 0, 0)(picture), picture)
    with pytest.raises(ValueError, match=r"cutout is 1\.5"):
        Augment(cutout=1.5)
