"""The autoencoders under latent networks."""

from __future__ import annotations

import pytest
import torch

from modalities.image.vae import SLICE, ConvVAEConfig, LinearVAEConfig

SMALL = ConvVAEConfig(channels=(32, 32), blocks=1, latents=4)


def test_shapes_and_slices() -> None:
    torch.manual_seed(0)
    vae = SMALL.build().eval()
    assert SMALL.factor == 2
    pictures = torch.rand(SLICE + 2, 3, 8, 8)
    with torch.no_grad():
        latents = vae.encode(pictures)
        assert latents.shape == (SLICE + 2, 4, 4, 4)
        torch.testing.assert_close(latents[-1:], vae.encode(pictures[-1:]), rtol=1e-4, atol=1e-5)
        assert vae.decode(latents).shape == pictures.shape


@torch.no_grad()
def test_noise_draws_from_the_posterior() -> None:
    torch.manual_seed(0)
    vae = SMALL.build().eval()
    pictures = torch.rand(SLICE + 1, 3, 8, 8)
    mean = vae.encode(pictures)
    _, log = vae.to_posterior(vae.encoder(pictures)).chunk(2, dim=1)
    noise = torch.randn_like(mean)
    wanted = mean + (log / 2).exp() * noise
    torch.testing.assert_close(vae.encode(pictures, noise), wanted, rtol=1e-4, atol=1e-4)
    one = vae.encode(pictures, noise[0])
    torch.testing.assert_close(one[0], wanted[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(vae.encode(pictures, torch.zeros_like(noise[0])), mean)


def test_all_components_are_the_picture_itself() -> None:
    torch.manual_seed(0)
    vae = LinearVAEConfig(patch=4, latents=48).build()
    pictures = torch.rand(5, 3, 8, 12)
    torch.testing.assert_close(vae.decode(vae.encode(pictures)), pictures)
    vae.fit([pictures[:2], pictures[2:]])
    torch.testing.assert_close(vae.decode(vae.encode(pictures)), pictures, rtol=1e-4, atol=1e-5)


def test_before_any_picture_the_first_three_components_are_the_colours() -> None:
    vae = LinearVAEConfig(patch=4, latents=3).build()
    flat = torch.tensor([0.2, -0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert torch.allclose(vae.encode(flat).flatten(), torch.tensor([0.2, -0.5, 0.9]), atol=1e-6)


@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
def test_components_are_fitted_to_pictures(whiten: float) -> None:
    torch.manual_seed(0)
    ways = torch.linalg.qr(torch.randn(12, 12))[0][:, :3].T  # pictures lie in three directions
    rows = 0.3 + (torch.randn(400, 3) * torch.tensor([3.0, 1.0, 0.3])) @ ways
    pictures = rows.view(400, 3, 2, 2)
    vae = LinearVAEConfig(patch=2, latents=3, whiten=whiten).build()
    vae.fit([pictures[:100], pictures[100:]])
    latents = vae.encode(pictures)
    torch.testing.assert_close(vae.decode(latents), pictures, rtol=1e-3, atol=1e-3)
    spread = latents.flatten(2).std((0, 2))
    assert float(spread.square().mean()) == pytest.approx(1.0, abs=0.02)
    assert float(spread[0] / spread[2]) == pytest.approx(10 ** (1 - whiten), rel=0.2)


def test_unfit_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="49 components of patches with 48 numbers"):
        LinearVAEConfig(patch=4, latents=49).build()
    with pytest.raises(ValueError, match="no pictures"):
        LinearVAEConfig(patch=4, latents=3).build().fit([])
