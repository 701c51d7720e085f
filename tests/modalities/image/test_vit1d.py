"""The 1D vision transformer's switches."""

from __future__ import annotations

import pytest
import torch

from modalities.common.blocks import Transformer
from modalities.image.vit1d import Decoder, Encoder, ViT1DConfig, ViTSize

TINY = ViTSize(width=32, layers=2, heads=2)


def config(**options: object) -> ViT1DConfig:
    return ViT1DConfig.model_validate(
        {"size": 16, "patch": 4, "tokens": 5, "encoder": TINY, "decoder": TINY, **options}
    )


@pytest.mark.parametrize("cls", [True, False])
@pytest.mark.parametrize("place", ["absolute", "rope"])
@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
def test_shapes_under_every_switch(cls, place, mlp):
    torch.manual_seed(0)
    c = config(cls=cls, place=place, mlp=mlp)
    pictures = torch.rand(2, 3, 16, 16)
    latents = Encoder(c, 6)(pictures)
    assert latents.shape == (2, 5, 6)
    assert Decoder(c, 6)(latents).shape == (2, 16, 32)
    assert Decoder(c, 6)(latents[:, :3]).shape == (2, 16, 32)  # a prefix


def test_rotary_patches_know_their_place_and_latents_do_not_turn():
    torch.manual_seed(0)
    encoder = Encoder(config(place="rope", cls=False), 6).eval()
    pictures = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(encoder(pictures), encoder(pictures.flip(-1)), atol=1e-3)
    assert encoder.place is None


def test_reading_out_some_tokens_equals_reading_all():
    torch.manual_seed(0)
    body, x = Transformer(32, 3, 4), torch.randn(2, 9, 32)
    torch.testing.assert_close(body(x, read=slice(4, 9)), body(x)[:, 4:])
    torch.testing.assert_close(body(x, read=slice(0, 9)), body(x))


def test_the_legacy_layout_scrambles_channels_and_tokens():
    torch.manual_seed(0)
    plain = Encoder(config(), 6)
    legacy = Encoder(config(legacy=True), 6)
    legacy.load_state_dict(plain.state_dict())
    pictures = torch.rand(1, 3, 16, 16)
    a, b = plain(pictures), legacy(pictures)
    assert a.shape == b.shape
    assert not torch.allclose(a, b)


def test_text_is_wanted_or_refused():
    torch.manual_seed(0)
    guided, free = Decoder(config(text=3), 6), Decoder(config(), 6)
    latents, text = torch.randn(2, 5, 6), torch.randn(2, 3, 768)
    assert not torch.allclose(guided(latents, text), guided(latents, 2 * text))
    with pytest.raises(ValueError, match=r"takes states \[B, 3, 768\] of the captions, but none was given"):
        guided(latents)
    with pytest.raises(ValueError, match=r"but \[2, 2, 768\] was given"):
        guided(latents, text[:, :2])
    with pytest.raises(ValueError, match="takes no text"):
        free(latents, text)


def test_wrong_sizes():
    with pytest.raises(ValueError, match="patch 5 does not divide the picture side 16"):
        Encoder(config(patch=5), 6)
    with pytest.raises(ValueError, match="built for"):
        Encoder(config(), 6)(torch.rand(1, 3, 20, 16))
