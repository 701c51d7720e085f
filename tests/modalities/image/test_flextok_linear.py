"""FlexTok's flow around a linear picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modalities.common.quantize.config import FSQConfig
from modalities.image.flextok import FlexTok, FlexTokNet
from modalities.image.flextok_config import FlexTokConfig
from modalities.image.flextok_linear import Around, kept
from modalities.image.vae import LinearVAEConfig
from modalities.image.vit1d import ViTSize

TINY: dict[str, Any] = {
    "size": 16,
    "tokens": 8,
    "range": (0.0, 1.0),
    "vae": LinearVAEConfig(patch=4, latents=24),
    "patch": 1,
    "encoder": ViTSize(width=32, layers=2, heads=2),
    "decoder": ViTSize(width=32, layers=2, heads=2),
    "quantizer": FSQConfig(levels=(8, 8), form="published"),
    "linear": "pca",
    "components": 16,
    "reduced": 16,
}


def pictures(count: int) -> torch.Tensor:
    """Smooth ones: few waves."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 3, 3, generator=generator)
    return torch.nn.functional.interpolate(small, size=16, mode="bilinear", align_corners=True)


def started(**options: Any) -> Any:
    torch.manual_seed(0)
    net = FlexTokNet(FlexTokConfig(**{**TINY, **options}))
    seen = pictures(400)
    assert net.linear is not None
    rows = net.linear.reduce(seen)
    net.linear.start(rows, bits=net.quantizer.bits, whiten=0.6)
    z = net.linear.latents(rows)
    net.linear.fit_gain(z, net.eval().quantizer(z).z_q)
    net.fit([seen[:300], seen[300:]])
    return net


def test_a_bell_about_the_linear_picture_is_followed_exactly() -> None:
    """Where true latents are c + s * normal, the best velocity is known: that of the conditional mean."""
    torch.manual_seed(0)
    c, s = torch.full((1, 2, 1, 1), 0.7), torch.tensor([0.5, 2.0]).view(1, 2, 1, 1)
    around, count = Around(c, s), 400_000
    for time in (0.1, 0.5, 0.95):
        t = torch.tensor(time)
        true, noise = c + s * torch.randn(count, 2, 1, 1), torch.randn(count, 2, 1, 1)
        noisy = (1 - t) * true + t * noise
        unit = around.unit(noisy, t)
        torch.testing.assert_close(unit.std(0).flatten(), torch.ones(2), rtol=0.01, atol=0.01)
        rest = noise - true - around.velocity(noisy, t, torch.zeros(()))
        assert (rest.mean(0)).abs().max() < 0.02
        assert (rest * unit).mean(0).abs().max() < 0.02  # nothing linear is left to know
        scaled = rest / (
            around.velocity(noisy, t, torch.ones(())) - around.velocity(noisy, t, torch.zeros(()))
        )
        torch.testing.assert_close(scaled.std(0).flatten(), torch.ones(2), rtol=0.02, atol=0.02)


def test_codes_that_were_dropped_count_as_the_mean() -> None:
    z_q = torch.ones(2, 3, 2)
    made = kept(z_q, torch.tensor([1, 3]), 5)
    assert made.sum((1, 2)).tolist() == [2, 6]
    assert made.shape == (2, 5, 2)


@torch.no_grad()
def test_it_begins_as_principal_components_with_better_pictures_from_more_codes() -> None:
    net = started()
    wanted = pictures(440)[400:]
    z_q = net.quantizer(net.encode(wanted)).z_q
    found = []
    for k in (1, 3, 8):
        linear = net.linear.decode(kept(z_q[:, :k], torch.full((40,), k), 8))
        once = net.decode(z_q[:, :k], steps=1, scale=1.0)  # the mean of what the flow gives
        passed = net.vae.decode(net.vae.encode(linear))
        torch.testing.assert_close(once, passed, rtol=1e-3, atol=1e-3)
        found.append(float((once - wanted).square().mean()))
    assert found[0] > found[1] > found[2]
    assert found[2] < 0.3 * float((wanted - wanted.mean(0)).square().mean())


@torch.no_grad()
def test_samples_lie_about_the_linear_picture_as_far_as_true_ones_do() -> None:
    net = started()
    wanted = pictures(440)[400:]
    z_q = net.quantizer(net.encode(wanted)).z_q[:, :2]
    around = net._around(z_q)
    sampled = net.sample(z_q, torch.randn(40, 24, 4, 4), 60, 1.0, False)
    spread = (sampled - around.c).square().mean((0, 2, 3)).sqrt()
    large = net.spread.table[2] > 0.05
    torch.testing.assert_close(spread[large], net.spread.table[2][large], rtol=0.25, atol=0.02)


def test_training_reaches_every_parameter_and_a_budget_still_cuts() -> None:
    net = started()
    net.train()
    for name, parameter in net.named_parameters():
        if not bool(parameter.any()):
            parameter.data.normal_(std=0.05)
        assert name
    features = net(pictures(6), paint=False).features
    (features["velocity"] - features["velocity_target"]).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters() if p.requires_grad)
    flextok = FlexTok(None, **TINY)
    codes = flextok.encode([torch.rand(3, 16, 16)])[0]
    flextok.budget = 3
    assert flextok.encode([flextok.decode([codes])[0]])[0].ids.shape == (3,)


def test_more_components_than_the_codes_have_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="17 components"):
        FlexTok(None, **{**TINY, "components": 17})
