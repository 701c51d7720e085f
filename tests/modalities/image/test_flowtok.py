"""`image.flowtok`: continuous latents, no vocabulary, the published shapes and the small one of ours."""

from __future__ import annotations

import pytest
import torch
from released import listing

import unitok
from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import WeightsMismatch, save_weights
from modalities.image.flowtok import FlowTok, FlowTokConfig, released
from modalities.image.titok import TiTokNet

TINY = {"size": 32, "tokens": 4, "encoder": {"width": 32, "layers": 1, "heads": 2}, "decoder": {"width": 32, "layers": 1, "heads": 2}}  # fmt: skip


@pytest.mark.parametrize("size", [256, 512])
def test_released_tokenizers_are_known_by_their_shapes(size: int) -> None:
    with torch.device("meta"):
        listed = listing(f"flowtitok_bl77_vae_{size}")
        config, _ = released(Checkpoint({key: torch.empty(shape) for key, shape in listed.items()}))
    assert config == FlowTokConfig.variant(f"bl77_{size}")


def test_files_with_a_codebook_are_titoks() -> None:
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing("tatitok_bl32_vq").items()}
        with pytest.raises(WeightsMismatch, match="has a codebook.*open it as image.titok"):
            released(Checkpoint(state, {}, "x"))


def test_latents_come_back_as_pictures_and_enter_no_vocabulary(drawn) -> None:
    tokenizer = unitok.create("image.flowtok", weights=None, **TINY)
    latents = tokenizer.latents([drawn, drawn])
    assert latents.shape == (2, 4, 8)
    assert tokenizer.decode_tensor(latents).shape == (2, 3, 32, 32)
    with pytest.raises(TypeError, match="continuous latents and no codes, so it cannot enter a vocabulary"):
        unitok.Vocabulary.build({"image": tokenizer})
    with pytest.raises(TypeError, match="continuous latents and no codes"):
        tokenizer.encode([drawn])


def test_captions_guide_the_decoder_of_the_published_kind(drawn, tmp_path) -> None:
    config = FlowTokConfig(**TINY, text=77)
    save_weights(tmp_path / "guided.safetensors", TiTokNet(config), config.model_dump(mode="json"))
    tokenizer = FlowTok(tmp_path / "guided.safetensors")
    latents = tokenizer.latents([drawn])
    with pytest.raises(ValueError, match=r"decodes with text states \[B, 77, 768\]"):
        tokenizer.decode_tensor(latents)
    one, two = (tokenizer.decode_tensor(latents, text=torch.full((1, 77, 768), v)) for v in (0.1, -1.0))
    assert one.shape == (1, 3, 32, 32)
    assert not one.equal(two)


def test_the_linear_path_starts_continuous_latents_from_principal_components() -> None:
    tokenizer = FlowTok(None, preset="small64")
    pictures = torch.rand(2, 3, 64, 64)
    linear = tokenizer.net.linear  # type: ignore[attr-defined]
    linear.start(torch.rand(400, 3072), bits=0, whiten=1.0)
    z = tokenizer.net.encode(pictures)
    mean, log = tokenizer.net.quantizer.posterior(z)  # type: ignore[attr-defined]
    torch.testing.assert_close(mean, linear.encode(pictures))
    assert mean.shape == (2, 32, 8)
    assert log.unique().tolist() == [-5.0]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(
        ValueError, match="no FlowTok tokenizer is called 'xl': there are small64, bl77_256, bl77_512"
    ):
        FlowTok(None, preset="xl")
