"""Released TiTok and TA-TiTok files: every variant loads strictly, and outputs equal the official modules'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from released import agrees, fill, filled, golden, listing, numbers
from torch import Tensor

from modalities.common.checkpoint import Checkpoint
from modalities.common.quantize.config import KLConfig
from modalities.common.weights import WeightsMismatch, load_weights
from modalities.image.titok import VARIANTS, TiTok, TiTokConfig, TiTokNet, released
from modalities.image.vit1d import SIZES


def name_of(variant: str) -> str:
    return variant if variant.startswith("tatitok") else f"titok_{variant}"


def said(variant: str) -> dict[str, Any]:
    """What config.json of the release says of the quantizer."""
    return {"model": {"vq_model": {"use_l2_norm": VARIANTS[variant][3] == "legacy"}}}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_loads_strictly_and_is_known_by_its_shapes(variant):
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing(name_of(variant)).items()}
        for config_json in (said(variant), {}):
            config, ours = released(Checkpoint(state, config_json, "x"))
            assert config == TiTokConfig.variant(variant)
        own = TiTokNet(config).state_dict()
    assert {key: tuple(t.shape) for key, t in ours.items()} == {key: tuple(t.shape) for key, t in own.items()}


def test_the_running_usage_of_cvq_training_is_left_out():
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing("tatitok_bl32_vq").items()}
        state["quantize.embed_prob"] = torch.empty(8192)
        assert not any("prob" in key for key in released(Checkpoint(state))[1])


@pytest.mark.parametrize("size", [256, 512])
def test_flowtoks_tokenizer_loads_strictly_and_is_known_by_its_shapes(size):
    with torch.device("meta"):
        listed = listing(f"flowtitok_bl77_vae_{size}")
        config, ours = released(Checkpoint({key: torch.empty(shape) for key, shape in listed.items()}))
        own = TiTokNet(config).state_dict()
    assert config == TiTokConfig(
        size=size,
        tokens=77,
        encoder=SIZES["base"],
        decoder=SIZES["large"],
        cls=False,
        place="rope",
        mlp="swiglu",
        text=77,
        start="published",
        quantizer=KLConfig(dim=16),
    )
    assert {key: tuple(t.shape) for key, t in ours.items()} == {key: tuple(t.shape) for key, t in own.items()}


def network(name: str, told: dict[str, Any] | None = None) -> TiTokNet:
    """A released network with hash-filled weights."""
    config, ours = released(Checkpoint(filled(listing(name)), told or {}, name))
    net = TiTokNet(config)
    load_weights(net, ours)
    return net.eval().requires_grad_(False)


def channels_first(x: Tensor) -> Tensor:
    """[B, K, D] as the noted [B, D, 1, K]."""
    return x.transpose(1, 2).unsqueeze(2)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["s128", "l32"])
def test_codes_and_pictures_of_the_paper_models_are_those_of_the_official_module(variant):
    noted, net = golden(f"titok_{variant}"), network(f"titok_{variant}", said(variant))
    pictures = numbers("input.image", (2, 3, 256, 256)).float()
    with torch.no_grad():
        z = net.encode(pictures)
        quantized = net.quantizer(z)
        agrees(channels_first(z), noted["z"])
        assert quantized.ids.tolist() == noted["tokens"]
        agrees(channels_first(quantized.z_q), noted["zq"])
        agrees(net.proxy_logits(quantized.z_q), noted["proxy_logits"])
        agrees(net.decode(quantized.z_q), noted["y"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tatitok_sl128_vae", "flowtitok_bl77_vae_256"])
def test_latents_and_pictures_of_text_guided_vaes_are_those_of_the_official_modules(name):
    noted, net = golden(name), network(name)
    pictures = numbers("input.image", (2, 3, 256, 256)).float()
    text = (2 * numbers("input.text", (2, 77, 768)) - 1).float()
    with torch.no_grad():
        z = net.encode(pictures)
        agrees(channels_first(z), noted["z"])
        mean, log = net.quantizer.posterior(z)  # type: ignore[operator]
        agrees(channels_first(mean), noted["mode"])
        if "std" in noted:
            agrees(channels_first((0.5 * log).exp()), noted["std"])
        else:
            agrees(0.5 * (mean.square() + log.exp() - 1 - log).sum(-1), noted["kl"])  # of each token
        agrees(net.decode(net.quantizer(z).z_q, text), noted["y"])


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small VAE variant without text, in the released layout, as a torch file."""
    shapes = {
        "latent_tokens": (8, 64), "encoder.class_embedding": (1, 64), "encoder.positional_embedding": (17, 64),
        "encoder.latent_token_positional_embedding": (8, 64), "encoder.patch_embed.weight": (64, 3, 16, 16),
        "encoder.patch_embed.bias": (64,), "encoder.conv_out.weight": (8, 64, 1, 1), "encoder.conv_out.bias": (8,),
        "decoder.class_embedding": (1, 64), "decoder.positional_embedding": (17, 64), "decoder.mask_token": (1, 1, 64),
        "decoder.latent_token_positional_embedding": (8, 64), "decoder.decoder_embed.weight": (64, 4),
        "decoder.decoder_embed.bias": (64,), "decoder.ffn.0.weight": (768, 64, 1, 1), "decoder.ffn.0.bias": (768,),
        "decoder.conv_out.weight": (3, 3, 3, 3), "decoder.conv_out.bias": (3,),
        "decoder.text_guidance_proj.weight": (64, 768), "decoder.text_guidance_proj.bias": (64,),
        "decoder.text_guidance_positional_embedding": (77, 64),
    }  # fmt: skip
    for half in ("encoder", "decoder"):
        for side in ("pre", "post"):
            shapes |= {f"{half}.ln_{side}.weight": (64,), f"{half}.ln_{side}.bias": (64,)}
        block = f"{half}.transformer.0"
        shapes |= {f"{block}.ln_{n}.{kind}": (64,) for n in (1, 2) for kind in ("weight", "bias")}
        shapes |= {
            f"{block}.attn.in_proj_weight": (192, 64), f"{block}.attn.in_proj_bias": (192,),
            f"{block}.attn.out_proj.weight": (64, 64), f"{block}.attn.out_proj.bias": (64,),
            f"{block}.mlp.c_fc.weight": (256, 64), f"{block}.mlp.c_fc.bias": (256,),
            f"{block}.mlp.c_proj.weight": (64, 256), f"{block}.mlp.c_proj.bias": (64,),
        }  # fmt: skip
    file = tmp_path_factory.mktemp("released") / "tatitok.bin"
    torch.save({key: fill(key, shape) for key, shape in shapes.items()}, file)
    return file


def test_a_continuous_text_guided_file_through_the_tokenizer(vae, drawn):
    tokenizer = TiTok(vae)
    assert (tokenizer.config.size, tokenizer.config.tokens, tokenizer.config.text) == (64, 8, 77)
    latents = tokenizer.latents([drawn, drawn])
    assert latents.shape == (2, 8, 4)
    with pytest.raises(TypeError, match="continuous latents and no codes"):
        tokenizer.encode([drawn])
    with pytest.raises(ValueError, match=r"decodes with text states \[B, 77, 768\].*none were given"):
        tokenizer.decode_tensor(latents)
    text = torch.randn(77, 768)
    made = tokenizer.decode_tensor(latents, text=text)
    assert made.shape == (2, 3, 64, 64)
    assert TiTok(vae, text=text).decode_tensor(latents).equal(made)
    assert not tokenizer.decode_tensor(latents, text=2 * text).equal(made)
    asked = TiTok(vae, text=lambda captions: torch.stack([text] * len(captions)))
    torch.testing.assert_close(asked.decode_tensor(latents, text=["a disc", "a disc"]), made)
    with pytest.raises(ValueError, match=r"text states of shape \[3, 77, 768\] for 2 pictures"):
        tokenizer.decode_tensor(latents, text=text.expand(3, -1, -1))


def test_files_of_another_variant_are_refused(vae, tmp_path):
    with pytest.raises(
        WeightsMismatch, match=r"is of another preset: size is 64, not 256; tokens is 8, not 32"
    ):
        TiTok(vae, preset="tatitok_bl32_vae")
    state = torch.load(vae)
    del state["decoder.conv_out.bias"]
    torch.save(state, tmp_path / "cut.bin")
    with pytest.raises(WeightsMismatch, match="missing smooth.bias"):
        TiTok(tmp_path / "cut.bin")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(WeightsMismatch, match="has no tensor .*it is a file of another tokenizer"):
        TiTok(tmp_path / "other.pt")


def test_pictures_of_a_wrong_size_name_the_right_one(vae):
    with pytest.raises(ValueError, match=r"\[3, 96, 96\]: this network was built for \[3, 64, 64\]"):
        TiTok(vae).net.encode(torch.zeros(1, 3, 96, 96))


def test_half_precision_stays_near(vae, drawn):
    exact, quick = TiTok(vae), TiTok(vae, precision="bf16")
    a, b = exact.latents([drawn]), quick.latents([drawn])
    assert not a.equal(b)
    assert (a - b).abs().mean() < 0.05 * a.abs().mean()
