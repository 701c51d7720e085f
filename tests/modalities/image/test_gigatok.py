"""`image.gigatok`: the contract, training outputs, refusals, released files through the tokenizer."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from PIL import Image

from modalities.common.losses.semantic import semantic_loss
from modalities.common.weights import WeightsMismatch, save_weights
from modalities.image.gigatok import GigaTok, GigaTokConfig, GigaTokNet
from unitok.testing import conforms

HALF = {"width": 64, "layers": 2, "heads": 1}
TINY: dict[str, Any] = {
    "size": 32,
    "tokens": 8,
    "channels": (32, 32, 32),
    "features": 16,
    "encoder": HALF,
    "decoder": HALF,
    "quantizer": {"kind": "vq", "codes": 64, "dim": 4, "l2": True, "learn": "gradient", "rotation": True},
}


def tiny(**options: Any) -> GigaTok:
    return GigaTok(**{**TINY, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"form": "plain", "tokens": 64},
        {"form": "crossed", "tokens": 64, "quantizer": {"kind": "binary", "bits": 12, "form": "bernoulli"}},
    ],
)
def test_it_keeps_the_contract(options: dict[str, Any], drawn: Image.Image) -> None:
    conforms(
        tiny(**options), [drawn, drawn.rotate(90), Image.new("L", (5, 9))], rebuild=lambda: tiny(**options)
    )


def test_continuous_latents_have_pictures_but_no_codes(drawn: Image.Image) -> None:
    tokenizer = tiny(quantizer={"kind": "kl", "dim": 4})
    latents = tokenizer.latents([drawn])
    assert latents.shape == (1, 8, 4)
    assert tokenizer.decode_tensor(latents).shape == (1, 3, 32, 32)
    with pytest.raises(TypeError, match="continuous latents and no codes"):
        tokenizer.encode([drawn])


def test_small_presets_are_built_and_the_default_is_that_for_64_pixels() -> None:
    assert GigaTok().config == GigaTok(preset="small64").config == GigaTokConfig()
    with torch.device("meta"):
        net = GigaTokNet(GigaTokConfig.variant("small256"))
        assert net.encode(torch.zeros(1, 3, 256, 256)).shape == (1, 128, 8)
    with pytest.raises(
        ValueError, match="no GigaTok is called 'VQ_S': there are small64, small256, VQ_SS256"
    ):
        GigaTok(preset="VQ_S")


def test_training_sees_pictures_losses_and_features() -> None:
    torch.manual_seed(0)
    config = GigaTokConfig.model_validate({**TINY, "semantic": 24, "layer": 2})
    net, pictures = GigaTokNet(config).train(), torch.rand(2, 3, 32, 32) * 2 - 1
    made = net(pictures)
    assert made.pictures.shape == pictures.shape
    assert set(made.features) == {"semantic"}
    assert made.features["semantic"].shape == (2, 64, 24)
    assert set(made.quantized.losses) == {"commitment", "codebook"}
    made = net(pictures, direct=True)
    assert set(made.features) == {"semantic", "encoded", "painted", "direct"}
    assert made.features["direct"].shape == pictures.shape
    assert made.features["encoded"].shape == made.features["painted"].shape == (2, 16, 8, 8)
    loss = (made.pictures - pictures).square().mean() + made.quantized.loss
    loss = loss + semantic_loss(made.features["semantic"], torch.randn(2, 64, 24))
    loss.backward()
    without = [name for name, p in net.named_parameters() if p.grad is None]
    assert not without
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_a_few_steps_bring_the_picture_nearer() -> None:
    torch.manual_seed(0)
    net = GigaTokNet(GigaTokConfig.model_validate(TINY)).train()
    pictures = torch.nn.functional.interpolate(torch.rand(4, 3, 2, 2) * 2 - 1, size=32)
    optimizer, errors = torch.optim.AdamW(net.parameters(), lr=2e-3), []
    for _ in range(25):
        made = net(pictures)
        error = (made.pictures - pictures).square().mean()
        optimizer.zero_grad()
        (error + made.quantized.loss).backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size 30 cannot be halved 2 times.*choose a multiple of 4"):
        tiny(size=30)
    with pytest.raises(
        ValueError, match="tokens = 8, but the plain form has one for each of 8 x 8 cells: 64"
    ):
        tiny(form="plain")
    with pytest.raises(ValueError, match="layer = 3, but the decoder has 2 layers"):
        tiny(semantic=8)
    with pytest.raises(ValueError, match=r"\[3, 64, 64\]: this network was built for \[3, 32, 32\]"):
        tiny().net.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="256 tokens need a map of at least 8 x 16 cells"):
        tiny(tokens=256).net.encode(torch.zeros(1, 3, 32, 32))


# -------------------------------------------------------------------- released files


def theirs(net: GigaTokNet) -> dict[str, torch.Tensor]:
    """The tensors of a small network under the released names, in the released shapes."""
    named: dict[str, torch.Tensor] = {"quantize.codebook_used": torch.zeros(65536)}
    for name, tensor in net.state_dict().items():
        for ours, released in (
            ("quantizer.codebook", "quantize.embedding.weight"), ("to_code.", "quant_conv."),
            ("from_code.", "post_quant_conv."), ("semantic.", "s1to2decoder.distill_mlp."),
            ("encoder.", "s2to1encoder."), ("decoder.", "s1to2decoder."),
            ("cnn_encoder.", "encoder."), ("cnn_decoder.", "decoder."),
        ):  # fmt: skip
            if name.startswith(ours):
                name = released + name.removeprefix(ours)
                break
        if name.startswith("s"):
            for ours, released in (
                (".norm_2.", ".norm3."), (".norm_cross.", ".norm2."), (".norm_1.", ".norm1."), (".mlp.up.", ".linear1."),
                (".mlp.down.", ".linear2."), (".attn.qkv.", ".self_attn.in_proj_"), (".attn.out.", ".self_attn.out_proj."),
                (".cross.out.", ".multihead_attn.out_proj."), (".blocks.", ".transformer."), (".norm_in.", ".ln_pre."),
                (".norm_out.", ".ln_post."), (".query.", ".global_proj."), (".latent_place", ".latent_token_positional_embedding"),
                (".place", ".positional_embedding"), ("encoder.embed.", "encoder.encoder_embed."),
                ("decoder.embed.", "decoder.decoder_embed."), ("1encoder.out.", "1encoder.conv_out."),
                ("2decoder.out.", "2decoder.conv_out."),
            ):  # fmt: skip
                name = name.replace(ours, released)
        else:
            for level in range(3):
                name = name.replace(f".levels.{level}.", f".conv_blocks.{level}.res.")
                name = name.replace(f".halves.{level}.", f".conv_blocks.{level}.downsample.conv.")
                name = name.replace(f".doubles.{level}.", f".conv_blocks.{level}.upsample.conv1.")
            for ours, released in (
                (".middle.", ".mid."), (".norm_1", ".norm1"), (".norm_2", ".norm2"), (".conv_1", ".conv1"),
                (".conv_2", ".conv2"), (".styles.", ".adaptive."), (".scale.", ".gamma."), (".shift.", ".beta."),
            ):  # fmt: skip
                name = name.replace(ours, released)
        if name.endswith("positional_embedding"):
            tensor = tensor.unsqueeze(1)
        if name in ("quant_conv.weight", "post_quant_conv.weight", "s2to1encoder.conv_out.weight"):
            tensor = tensor[..., None, None]
        named[name] = tensor
    for name in [n for n in named if ".cross.q." in n]:
        joined = torch.cat([named.pop(name), named.pop(name.replace(".cross.q.", ".cross.kv."))])
        named[name.replace(".cross.q.", ".multihead_attn.in_proj_")] = joined
    return named


def test_a_file_of_the_released_layout_through_the_tokenizer(tmp_path, drawn) -> None:
    torch.manual_seed(3)
    changes = {"semantic": 24, "layer": 2, "start": "published", "resize": "halve"}
    config = GigaTokConfig.model_validate({**TINY, **changes})
    net = GigaTokNet(config).eval()
    state = theirs(net)
    other = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    file = tmp_path / "VQ_tiny.pt"
    torch.save({"model": other, "ema": state, "steps": 3, "args": Namespace(vq_model="VQVitModelPlus")}, file)
    tokenizer = GigaTok(file)
    assert tokenizer.config.model_copy(update={"layer": 2}) == config
    assert tokenizer.net.semantic is None
    pictures = torch.rand(2, 3, 32, 32)
    codes = tokenizer.encode(list(pictures))
    with torch.no_grad():
        wanted = net.quantizer.encode(net.encode(pictures * 2 - 1))
        made = (net.decode(net.quantizer.lookup(wanted)) + 1) / 2
    assert torch.stack([each.ids for each in codes]).equal(wanted)
    torch.testing.assert_close(tokenizer.decode_tensor(codes), made)
    kept = GigaTok(file, head=True)
    assert kept.net.semantic is not None
    assert kept.encode([drawn])[0].ids.equal(tokenizer.encode([drawn])[0].ids)
    ours = tmp_path / "ours.safetensors"
    save_weights(ours, kept.net, kept.config.model_dump(mode="json"), half=False)
    assert GigaTok(ours).spec.fingerprint == tokenizer.spec.fingerprint
    with pytest.raises(WeightsMismatch, match="is of another preset: size is 32, not 256"):
        GigaTok(file, preset="VQ_SS256")
    del state["encoder.conv_in.bias"]
    torch.save({"state_dict": state}, file)
    with pytest.raises(WeightsMismatch, match="missing cnn_encoder.conv_in.bias"):
        GigaTok(file)
