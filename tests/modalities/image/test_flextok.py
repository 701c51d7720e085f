"""FlexTok at a tiny width: the official modules' numbers, prefixes, company, sampling, training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from released import agrees, filled, numbers
from safetensors.torch import save_file
from torch import Tensor

import unitok
from modalities.common.guidance import Projected
from modalities.common.stage import stage
from modalities.common.weights import load_weights, save_weights
from modalities.image.base import Reconstruction
from modalities.image.flextok import FlexTok, FlexTokNet
from modalities.image.flextok_config import FlexTokConfig
from modalities.image.flextok_net import Registers
from modalities.image.flextok_released import ours
from modalities.image.objective import LossConfig, Objective
from modalities.image.vae import LinearVAEConfig
from modalities.image.vit1d import ViTSize
from unitok.modality import BadCodes, Codes
from unitok.strict import validate
from unitok.testing import conforms

NOTED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "flextok_tiny.json").read_text())
TINY: dict[str, Any] = {
    "size": 16,
    "tokens": 8,
    "resize": "cover",
    "vae": LinearVAEConfig(patch=4, latents=6),
    "patch": 1,
    "encoder": ViTSize(width=32, layers=2, heads=2),
    "decoder": ViTSize(width=32, layers=2, heads=2),
    "sampling": {"steps": 2, "scale": 1.5},
}


def tiny(**options: Any) -> FlexTok:
    made = FlexTok(None, **{**TINY, **options})
    stir(made.net)
    return made


def stir(net: Any) -> None:
    """Give what starts at zero a say."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in net.named_parameters():
        if not bool(parameter.any()):
            parameter.data.normal_(std=0.1, generator=generator)
        assert name


@pytest.fixture(scope="module")
def official() -> Any:
    """Our network with the tensors that the official one was noted with."""
    net = FlexTokNet(validate(FlexTokConfig, NOTED["config"], "noted"))
    load_weights(net, ours(filled({key: tuple(shape) for key, shape in NOTED["keys"].items()})))
    return net.eval()


@torch.no_grad()
def test_codes_are_those_of_the_official_modules(official: Any) -> None:
    pictures = (2 * numbers("input.image", (2, 3, 64, 64)) - 1).float()
    agrees(official.vae.encode(pictures) * official.config.scaling_factor, NOTED["latents"])
    z = official.encode(pictures)
    agrees(z, NOTED["z"])
    assert official.quantizer.encode(z).tolist() == NOTED["ids"]
    assert official.quantizer.encode(official.encode(pictures, 9)).tolist() == [r[:9] for r in NOTED["ids"]]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "keep", "scale", "projected"),
    [
        ("all", 112, 1.0, False),
        ("plain", 7, 3.0, False),
        ("projected", 7, 7.5, True),
        ("varying", 30, lambda done: 1 + 2 * (1 - done), False),
    ],
)
def test_pictures_are_those_of_the_official_modules(
    official: Any, name: str, keep: int, scale: Any, projected: bool
) -> None:
    noise = ((numbers("noise", (2, 4, 16, 16)) - 0.5) * 12**0.5).float()
    z_q = official.quantizer.lookup(torch.tensor(NOTED["ids"]))[:, :keep]
    agrees(official.sample(z_q, noise, 3, scale, projected), NOTED[name], rtol=2e-4)
    if name == "varying":
        agrees(official.decode(z_q, noise, 3, scale, projected), NOTED["picture"], rtol=2e-4)


def test_it_conforms(drawn: Image.Image) -> None:
    conforms(tiny(), [drawn, torch.rand(3, 20, 16), torch.zeros(3, 16, 16)])


def test_a_prefix_costs_less_and_is_the_prefix(drawn: Image.Image) -> None:
    flextok = tiny()
    whole = flextok.encode([drawn])[0].ids
    seen: list[int] = []
    flextok.net.encoder.blocks[0].register_forward_hook(  # type: ignore[attr-defined]
        lambda module, given, out: seen.append(given[0].shape[1])
    )
    for budget in (1, 3, 8):
        flextok.budget = budget
        assert torch.equal(flextok.encode([drawn])[0].ids, whole[:budget])
    assert seen == [17, 19, 24]  # 16 patches and as many registers as are asked for


def test_close_calls_of_a_prefix_are_decided_as_those_of_all_codes_are(
    drawn: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    flextok = tiny(budget=3)
    net: Any = flextok.net
    seen: list[int] = []
    net.encoder.register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    flextok.encode([drawn])
    assert seen == [3]
    monkeypatch.setattr(net.quantizer, "margin", lambda z: torch.zeros(z.shape[:2]))
    assert len(flextok.encode([drawn])[0]) == 3
    assert seen == [3, 3, 8]


@torch.no_grad()
def test_one_token_stands_for_many_equal_ones() -> None:
    flextok = tiny()
    net: Any = flextok.net
    noise, z_q = net.noise([0, 1]), torch.rand(2, 8, net.quantizer.dim)
    conditions = net.decoder.conditions(torch.tensor([0.4]))
    for keep in (1, 5, 7, 8):
        dense = net.decoder.dropped(z_q, torch.tensor([keep, keep]), torch.tensor([False, False]))
        assert dense.tokens.shape[1] == 8
        few = net.decoder.told(z_q[:, :keep])
        assert few.tokens.shape[1] == min(keep + 1, 8)
        wanted = net.decoder(noise, conditions, dense)
        torch.testing.assert_close(net.decoder(noise, conditions, few), wanted, rtol=1e-4, atol=1e-5)
    none = net.decoder.dropped(z_q, torch.tensor([3, 8]), torch.tensor([True, True]))
    wanted = net.decoder(noise, conditions, none)
    torch.testing.assert_close(
        net.decoder(noise, conditions, net.decoder.untold(2)), wanted, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_dropped_registers_lose_their_place_too() -> None:
    decoder: Any = tiny().net.decoder  # type: ignore[attr-defined]
    told: Registers = decoder.dropped(torch.rand(1, 8, 6), torch.tensor([3]), torch.tensor([False]))
    assert torch.equal(told.tokens[0, 3:], decoder.mask.expand(5, -1))
    assert not torch.equal(told.tokens[0, 0], told.tokens[0, 1])


@torch.no_grad()
def test_what_a_register_holds_does_not_depend_on_later_ones() -> None:
    net: Any = tiny().net
    latents = torch.rand(1, 6, 4, 4)
    before = net.encoder(latents)
    net.encoder.registers[5] += 1
    after = net.encoder(latents)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_any_first_codes_are_a_picture_in_any_company(drawn: Image.Image) -> None:
    flextok = tiny()
    pictures = [drawn, torch.rand(3, 16, 16), torch.rand(3, 16, 16)]
    codes = [flextok.shorten(each, k) for each, k in zip(flextok.encode(pictures), (8, 2, 8), strict=True)]
    made = flextok.decode_tensor(codes, seed=[4, 5, 6])
    for i in range(3):
        alone = flextok.decode_tensor([codes[i]], seed=4 + i)
        torch.testing.assert_close(alone[0], made[i], rtol=1e-4, atol=1e-5)
        assert torch.equal(flextok.encode([pictures[i]])[0].ids[: len(codes[i])], codes[i].ids)
    assert flextok.decode(codes)[1].size == (16, 16)


def test_seed_steps_and_scale_change_the_picture_and_nothing_else_does(drawn: Image.Image) -> None:
    flextok = tiny()
    codes = flextok.encode([drawn])
    plain = flextok.decode_tensor(codes)
    assert torch.equal(plain, flextok.decode_tensor(codes, seed=0, steps=2, scale=1.5, projected=True))
    assert torch.equal(plain, flextok.decode_tensor(codes, scale=lambda done: 1.5))
    for change in ({"seed": 1}, {"steps": 3}, {"scale": 4.0}, {"projected": False}, {"scale": 1}):
        assert not torch.equal(plain, flextok.decode_tensor(codes, **change))
    other = tiny(sampling={"steps": 3, "scale": 1.5})
    assert torch.equal(other.decode_tensor(codes), flextok.decode_tensor(codes, steps=3))
    assert other.spec.fingerprint == flextok.spec.fingerprint  # it changes no code


@torch.no_grad()
def test_without_guidance_half_of_the_work_is_left_out() -> None:
    net: Any = tiny().net
    seen: list[int] = []
    net.decoder.register_forward_hook(lambda module, given, out: seen.append(1))
    z_q = torch.rand(1, 8, net.quantizer.dim)
    net.decode(z_q, steps=3, scale=1.0)
    assert len(seen) == 3
    net.decode(z_q, steps=3, scale=2.0)
    assert len(seen) == 9


@torch.no_grad()
def test_momentum_goes_on_over_the_steps_of_a_picture() -> None:
    net: Any = tiny().net
    z_q, noise = torch.rand(2, 8, net.quantizer.dim), net.noise([0, 1])
    x, apg = noise, Projected(3.0)
    for t in (1.0, 0.5):
        now = net.decoder.conditions(torch.tensor([t]))
        with_, without = (
            net.decoder(x, now, told) for told in (net.decoder.told(z_q), net.decoder.untold(2))
        )
        x = x - 0.5 * apg(with_, without)
    torch.testing.assert_close(net.sample(z_q, noise, 2, 3.0, True), x)


def trained_features(**options: Any) -> tuple[FlexTokNet, Any]:
    torch.manual_seed(0)
    net = FlexTokNet(FlexTokConfig(**{**TINY, **options}))
    stir(net)
    net.train()
    return net, net(torch.rand(6, 3, 16, 16) * 2 - 1)


def test_training_gives_a_velocity_and_its_target_and_reaches_every_parameter() -> None:
    net, made = trained_features(null=0.3, semantic=5, layer=1)
    velocity, wanted = made.features["velocity"], made.features["velocity_target"]
    assert velocity.shape == wanted.shape == (6, 6, 4, 4)
    assert made.pictures.shape == (6, 3, 16, 16)
    assert made.features["semantic"].shape == (6, 16, 5)
    objective = Objective(validate(LossConfig, FlexTok.losses, "[loss]"), Path())
    parts = objective(made, torch.rand(6, 3, 16, 16), 0)
    assert set(parts) == {"flow"}
    torch.testing.assert_close(parts["flow"], (velocity - wanted).square().mean())
    (parts["flow"] + made.features["semantic"].square().mean()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters() if p.requires_grad)


def test_the_pictures_of_training_are_where_the_flow_would_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = FlexTokNet(FlexTokConfig(**{**TINY, "vae": LinearVAEConfig(patch=4, latents=48)}))
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1

    def perfect(noisy: Tensor, *rest: Any, **more: Any) -> Tensor:
        latents = net.vae.encode(pictures)
        return (noisy - latents) / times.view(-1, 1, 1, 1)

    times = torch.tensor([0.3, 0.9])
    monkeypatch.setattr("modalities.image.flextok.logit_normal", lambda *a, **k: times)
    monkeypatch.setattr(net.decoder, "forward", perfect)
    torch.testing.assert_close(net(pictures).pictures, pictures, rtol=1e-3, atol=1e-4)
    assert net(pictures, paint=False).pictures is pictures


def test_a_flow_loss_asks_for_a_velocity() -> None:
    quantized = trained_features()[1].quantized
    objective = Objective(validate(LossConfig, {"flow": 1.0, "l2": 0}, "[loss]"), Path())
    with pytest.raises(ValueError, match="gives no 'velocity'"):
        objective(Reconstruction(torch.zeros(6, 3, 16, 16), quantized), torch.zeros(6, 3, 16, 16), 0)


def test_it_learns_two_pictures() -> None:
    torch.manual_seed(0)
    net = FlexTokNet(FlexTokConfig(**{**TINY, "null": 0.0, "nested": "pow2"}))
    red, green = torch.tensor([0.9, -0.9, -0.9]), torch.tensor([-0.9, 0.9, -0.9])
    pictures = torch.stack([red, green]).view(2, 3, 1, 1).expand(-1, -1, 16, 16)
    net.fit([pictures])
    batch = pictures.repeat(8, 1, 1, 1)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        features = net(batch, paint=False).features
        (features["velocity"] - features["velocity_target"]).square().mean().backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        z_q = net.quantizer(net.encode(pictures)).z_q
        for keep in (1, 8):
            made = net.decode(z_q[:, :keep], steps=8, scale=1.0)
            assert (made - pictures).square().mean() < 0.15  # a grey picture has 0.81


def test_training_may_begin_with_a_released_vae_alone(official: Any, tmp_path: Path) -> None:
    shapes = {k.removeprefix("vae.vae."): tuple(s) for k, s in NOTED["keys"].items() if k.startswith("vae.")}
    state = filled({f"vae.vae.{key}": shape for key, shape in shapes.items()})
    save_file(
        {key.removeprefix("vae.vae."): tensor for key, tensor in state.items()}, tmp_path / "vae.safetensors"
    )
    torch.manual_seed(0)
    net = FlexTokNet(official.config)
    before = net.encoder.registers.clone()
    stage(net, tmp_path / "vae.safetensors", ())
    wanted = official.vae.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in net.vae.state_dict().items())
    assert torch.equal(net.encoder.registers, before)
    assert not any(p.requires_grad for p in net.vae.parameters())


def test_weights_come_back_and_what_is_adjustable_may_be_given_beside_them(
    tmp_path: Path, drawn: Image.Image
) -> None:
    one = tiny()
    file = tmp_path / "flextok.safetensors"
    save_weights(file, one.net, one.config.model_dump(mode="json"), half=False)  # type: ignore[arg-type]
    same = FlexTok(file)
    assert same.spec.fingerprint == one.spec.fingerprint
    assert torch.equal(same.encode([drawn])[0].ids, one.encode([drawn])[0].ids)
    other = FlexTok(file, scaling_factor=0.3)
    assert other.spec.fingerprint != one.spec.fingerprint
    with pytest.raises(TypeError, match="tokens"):
        FlexTok(file, tokens=4)


def test_unfit_options_and_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        tiny(size=18)
    with pytest.raises(ValueError, match="decoder has 2"):
        tiny(semantic=4, layer=3)
    with pytest.raises(ValueError, match="no FlexTok is called 'd12'"):
        FlexTok(preset="d12")
    with pytest.raises(ValueError, match="steps"):
        tiny(sampling={"steps": 0})
    flextok = tiny()
    codes = [Codes(torch.zeros(3, dtype=torch.long))]
    with pytest.raises(TypeError, match="no text"):
        flextok.decode(codes, text="x")
    with pytest.raises(ValueError, match="2 seeds for 1 pictures"):
        flextok.decode(codes, seed=[1, 2])
    with pytest.raises(ValueError, match="steps"):
        flextok.decode(codes, steps=0)
    with pytest.raises(BadCodes, match="a first 1 to 7"):
        flextok.decode([Codes(torch.zeros(9, dtype=torch.long))])
    with pytest.raises(ValueError, match="latents of shape"):
        flextok.net.encode(torch.zeros(1, 3, 32, 32))


def test_it_is_in_the_catalogue() -> None:
    assert "image.flextok" in unitok.names()
    made = unitok.create("image.flextok", weights=None, preset="small64")
    assert made.spec.nested == tuple(range(1, 33))
    assert sum(p.numel() for p in made.net.parameters()) < 3_000_000
