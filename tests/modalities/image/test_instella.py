"""`image.instella`: the contract, bit order, sizes and scales, released weights and the official outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from released import agrees, filled, golden, listing, numbers

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import WeightsMismatch, load_weights, save_weights
from modalities.image.instella import Instella, released
from modalities.image.instella_net import InstellaConfig, InstellaNet
from unitok import registry
from unitok.modality import BadCodes, Codes
from unitok.testing import conforms

TINY: dict[str, Any] = {
    "size": 16,
    "patch": 4,
    "tokens": 4,
    "fold": 1,
    "unfold": 1,
    "axes": (4, 2, 2),
    "encoder": {"width": 16, "layers": 2, "heads": 2},
    "decoder": {"width": 24, "layers": 2, "heads": 3},
}
BITS = {"kind": "binary", "bits": 18, "form": "bernoulli"}


def tiny(**options: Any) -> Instella:
    return Instella(**{**TINY, "quantizer": BITS, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rotation": False, "scale": 64},
        {"quantizer": {"kind": "binary", "bits": 6, "form": "bernoulli"}},
        {"quantizer": {"kind": "fsq", "levels": (5, 4)}},
    ],
)
def test_it_keeps_the_contract(options: dict[str, Any], drawn: Image.Image) -> None:
    conforms(
        tiny(**options),
        [drawn, drawn.rotate(90), Image.new("L", (5, 9))],
        rebuild=lambda: tiny(**options),
    )


def test_the_catalogue_has_it() -> None:
    assert registry.create("image.instella", **TINY, quantizer=BITS).spec.parts == (256, 256, 4)


def test_the_least_significant_bit_comes_first() -> None:
    quantizer: Any = tiny().net.quantizer
    for bit, ids in ((0, [1, 0, 0]), (7, [128, 0, 0]), (8, [0, 1, 0]), (17, [0, 0, 2])):
        one = torch.zeros(18)
        one[bit] = 1
        assert quantizer.pack(one).tolist() == ids
        assert torch.equal(quantizer.lookup(torch.tensor(ids)), one)


def test_a_bit_adds_its_value_to_the_latent() -> None:
    net: Any = tiny().net
    bits = torch.zeros(1, 4, 18)
    bits[0, 2, 5] = bits[0, 2, 9] = 1
    seen = []
    net.decoder.norm_in.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    net.decode(bits)
    assert torch.allclose(seen[0][0, 2], net.values[5] + net.values[9])
    assert not seen[0][0, [0, 1, 3]].any()


def test_size_and_scale_keep_the_weights_and_change_the_codes(tmp_path: Path, drawn: Image.Image) -> None:
    one = tiny()
    file = tmp_path / "instella.safetensors"
    save_weights(file, one.net, one.config.model_dump(mode="json"), half=False)  # type: ignore[arg-type]
    same, spread, large = Instella(file), Instella(file, scale=64), Instella(file, size=32)
    assert same.spec.fingerprint == one.spec.fingerprint
    assert len({each.spec.fingerprint for each in (same, spread, large)}) == 3
    codes = [each.encode([drawn])[0].ids for each in (one, same, spread, large)]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[1], codes[2])
    assert large.decode([Codes(codes[3])])[0].size == (32, 32)
    with pytest.raises(TypeError, match="tokens"):
        Instella(file, tokens=8)


def test_a_scale_makes_corners_lie_at_the_same_places_in_every_size() -> None:
    encoder: Any = tiny(scale=64).net.encoder
    like = torch.zeros(())
    small, large = (encoder.turn(4, n, n, encoder.scale, like).angles for n in (4, 8))
    assert torch.equal(small[[4, -1]], large[[4, -1]])
    plain = [encoder.turn(4, n, n, None, like).angles for n in (4, 8)]
    assert torch.equal(plain[0][4], plain[1][4])
    assert not torch.equal(plain[0][-1], plain[1][-1])
    assert torch.equal(encoder.turn(4, 1, 1, 16.0, like).angles[4], torch.zeros(4, dtype=torch.float64))


def test_pictures_need_not_be_square_in_the_network_or_in_decoding(drawn: Image.Image) -> None:
    instella = tiny()
    assert instella.net.encode(torch.zeros(2, 3, 24, 8)).shape == (2, 4, 18)
    codes = instella.encode([drawn])
    assert instella.decode_tensor(codes, size=(8, 24)).shape == (1, 3, 8, 24)
    assert instella.decode(codes, size=32)[0].size == (32, 32)
    assert torch.equal(instella.decode_tensor(codes, size=16), instella.decode_tensor(codes))


def test_training_draws_bits_and_its_gradient_reaches_the_encoder() -> None:
    torch.manual_seed(0)
    net = InstellaNet(
        InstellaConfig(**{**TINY, "quantizer": {**BITS, "confidence": 1.0, "temperature": 1.0}})
    )
    pictures = torch.rand(3, 3, 16, 16) * 2 - 1
    made, again = net(pictures), net(pictures)
    assert made.pictures.shape == pictures.shape
    assert not torch.equal(made.quantized.ids, again.quantized.ids)
    (made.pictures.square().mean() + made.quantized.loss).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())


def test_a_small_network_learns_two_pictures() -> None:
    torch.manual_seed(0)
    net = InstellaNet(InstellaConfig(**{**TINY, "quantizer": BITS}))
    red, green = torch.tensor([1.0, -1, -1]), torch.tensor([-1, 1.0, -1])
    pictures = torch.stack([red, green]).view(2, 3, 1, 1).expand(-1, -1, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (net(pictures).pictures - pictures).square().mean().backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        made = net(pictures)
    assert (made.quantized.z_q[0] != made.quantized.z_q[1]).any()
    assert (made.pictures - pictures).square().mean() < 0.05  # a grey picture has 0.67


def test_unfit_options_and_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        tiny(size=20)
    with pytest.raises(ValueError, match="axes"):
        tiny(axes=(4, 4, 4))
    with pytest.raises(ValueError, match="after block 2 of 2"):
        tiny(fold=2)
    with pytest.raises(ValueError, match=r"no Instella is called 'large'"):
        Instella(preset="large")
    instella = tiny()
    with pytest.raises(ValueError, match="multiples of 8"):
        instella.net.encode(torch.zeros(1, 3, 16, 20))
    with pytest.raises(ValueError, match="multiples of 8"):
        instella.decode([Codes(torch.zeros(4, 3, dtype=torch.int64))], size=20)
    with pytest.raises(TypeError, match="no text"):
        instella.decode([Codes(torch.zeros(4, 3, dtype=torch.int64))], text=None)
    with pytest.raises(BadCodes):
        instella.decode([Codes(torch.full((4, 3), 4))])


def test_the_released_tokenizer_loads_strictly() -> None:
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing("instella_bae").items()}
        config, ours = released(Checkpoint(state, {}, "x"))
        own = InstellaNet(config).state_dict()
    assert config == Instella.preset("bae_1024")
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in own.items()}


def _shrunk(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    small = {768: 64, 1024: 64, 3072: 256, 4096: 256, 128: 4}
    if key == "to_pixel.weight":
        return (768, 64)
    return shape if key == "to_pixel.bias" else tuple(small.get(n, n) for n in shape)


def test_a_released_file_through_the_tokenizer(tmp_path: Path, drawn: Image.Image) -> None:
    shapes = {key: _shrunk(key, shape) for key, shape in listing("instella_bae").items()}
    file = tmp_path / "model.pt"
    torch.save(filled({**shapes, "decoder.repa_proj.0.weight": (64, 64)}), file)
    instella = Instella(file, size=64)
    assert (instella.config.tokens, instella.config.scale, instella.spec.parts) == (4, 1024, (256,) * 8)
    assert instella.decode(instella.encode([drawn]))[0].size == (64, 64)
    with pytest.raises(WeightsMismatch, match="of another preset"):
        Instella(file, preset="bae")
    torch.save({"codebook": torch.zeros(3)}, file)
    with pytest.raises(WeightsMismatch, match="no tensor"):
        Instella(file)


@pytest.mark.slow
def test_bits_and_pictures_are_those_of_the_official_module() -> None:
    config, ours = released(Checkpoint(filled(listing("instella_bae")), {}, "x"))
    pictures = (2 * numbers("input.image", (1, 3, 256, 256)) - 1).float()
    for name, scale in (("bae_256_scaleNone", None), ("bae_256_scale1024", 1024)):
        noted = golden("instella")[name]
        net: Any = InstellaNet(config.model_copy(update={"size": 256, "scale": scale}))
        load_weights(net, ours)
        net.eval()
        with torch.no_grad():
            latents = net.encoder(pictures)
            logits = net.encode(pictures)
            bits = net.quantizer(logits).z_q
            agrees(latents, noted["enc"])
            agrees(logits, noted["logits"])
            agrees(bits @ net.values, noted["zq"])
            agrees(net.decode(bits), noted["y"])
        assert int(bits.sum()) == noted["ones"]
        assert ["".join(str(int(bit)) for bit in row) for row in bits[0, :4]] == noted["bits"]
        net.quantizer.confidence = 1.0
        assert float(net.quantizer(logits).loss) == pytest.approx(noted["code_loss"], rel=1e-5)
