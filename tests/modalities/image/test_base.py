"""What every image tokenizer shares, on a system small enough to know its answers: quadrants of a picture."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.common.pretrained import CHUNK
from modalities.common.quantize import Quantizer
from modalities.common.quantize.config import BinaryConfig, KLConfig, QuantizerConfig
from modalities.image.base import ImageConfig, ImageTokenizer
from unitok.modality import BadCodes, BadItem, Codes

BITS: dict[str, Any] = {"kind": "binary", "bits": 12}


class QuadrantsConfig(ImageConfig):
    """Pictures of 8 x 8 in [-1, 1], four tokens."""

    size: int = 8
    tokens: int = 4
    range: tuple[float, float] = (-1.0, 1.0)
    quantizer: QuantizerConfig = Field(KLConfig(dim=3))


class QuadrantsNet(nn.Module):
    """Mean colours of the quadrants; of a KL quantizer with a spread of one. Takes a shade to add."""

    def __init__(self, config: QuadrantsConfig) -> None:
        super().__init__()
        self.quantizer: Quantizer = config.quantizer.build(config.tokens)

    def encode(self, pictures: Tensor) -> Tensor:
        z = rearrange(F.avg_pool2d(pictures, 4), "b c h w -> b (h w) c")
        return torch.cat([z] * (self.quantizer.inputs // 3), dim=-1)

    def decode(self, z_q: Tensor, shade: Tensor | None = None) -> Tensor:
        small = rearrange(z_q[..., :3], "b (h w) c -> b c h w", h=2)
        return F.interpolate(small, scale_factor=4.0) + (0 if shade is None else shade[:, None, None, None])


class Quadrants(ImageTokenizer):
    tokenizer = "image.quadrants"
    Config, Net = QuadrantsConfig, QuadrantsNet


def flat(value: float) -> Tensor:
    return torch.full((3, 8, 8), value)


def test_the_network_sees_its_own_range_and_pictures_come_back_from_black_0_to_white_1():
    system = Quadrants()
    latents = system.latents([flat(0.0), flat(0.75), flat(1.0)])
    assert latents.shape == (3, 4, 3)
    assert latents[:, 0, 0].tolist() == [-1.0, 0.5, 1.0]
    made = system.decode_tensor(latents * 1.5)
    assert made.shape == (3, 3, 8, 8)
    assert made[:, 0, 0, 0].tolist() == [-0.25, 0.875, 1.25]  # not clamped


def test_many_pictures_go_in_parts_with_the_guidance_of_each():
    system, count = Quadrants(), CHUNK + 5
    items = [flat(n / count) for n in range(count)]
    latents = system.latents(items)
    torch.testing.assert_close(latents, torch.cat([system.latents([item]) for item in items]))
    shade = torch.linspace(0, 1, count)
    made = system.decode_tensor(latents, shade=2 * shade)  # two in the network's range are one here
    torch.testing.assert_close(made, torch.stack(items) + shade[:, None, None, None])


def test_no_pictures_give_no_latents():
    system = Quadrants()
    none = system.latents([])
    assert none.shape == (0, 4, 3)
    assert system.decode_tensor(none).shape == system.decode_tensor([]).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    "latents",
    [torch.zeros(4, 3), torch.zeros(1, 5, 3), torch.zeros(1, 4, 2), torch.zeros(1, 4, 3, dtype=torch.int64)],
)
def test_latents_of_another_shape_or_kind_are_refused(latents):
    with pytest.raises(
        ValueError, match=r"latents are floats \[\d, 4, 3\], not torch.*give what latents\(\) gives"
    ):
        Quadrants().decode_tensor(latents)


def test_latents_of_any_float_are_decoded():
    system = Quadrants()
    latents = system.latents([flat(0.5)])
    assert torch.equal(system.decode_tensor(latents.double()), system.decode_tensor(latents))


def test_continuous_latents_have_no_codes():
    system = Quadrants()
    for ask in (lambda: system.spec, lambda: system.encode([flat(0.5)])):
        with pytest.raises(TypeError, match=r"no codes.*use latents\(\) and decode_tensor\(latents\)"):
            ask()


def test_codes_in_parts_are_checked_by_position_and_part():
    system = Quadrants(quantizer=BITS)
    assert (system.spec.parts, system.spec.length) == ((256, 16), (4, 4))
    [codes] = system.encode([flat(1.0)])
    assert codes.ids.tolist() == [[255, 15]] * 4
    assert system.decode_tensor([codes]).min() > 0.5
    with pytest.raises(BadCodes, match=r"item 1: codes of shape \[4\], but a picture has \[4, 2\]"):
        system.decode([codes, Codes(codes.ids[:, 0])])
    with pytest.raises(BadCodes, match=r"outside its range: \[256, 16\] codes"):
        system.decode([Codes(codes.ids.flip(-1) + 1)])


def test_what_is_no_codes_is_refused():
    system = Quadrants(quantizer=BITS)
    [codes] = system.encode([flat(1.0)])
    for ids in (codes.ids.float(), codes.ids.bool()):
        with pytest.raises(BadCodes, match=r"item 1: codes of torch\.\w+: give whole numbers"):
            system.decode([codes, Codes(ids)])
    with pytest.raises(BadCodes, match=r"item 0: a Tensor: give Codes\(ids\)"):
        system.decode([codes.ids])
    assert torch.equal(
        system.decode_tensor([Codes(codes.ids.to(torch.uint8))]), system.decode_tensor([codes])
    )


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision 'fp16': use one of fp32, bf16"):
        Quadrants(precision="fp16")


def test_bad_items_are_named_for_latents_too():
    with pytest.raises(BadItem) as caught:
        Quadrants().latents([flat(0.5), flat(2.0)])
    assert caught.value.index == 1


def test_a_system_without_presets_or_releases_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"image\.quadrants has no presets, so none is called 'large'"):
        Quadrants(preset="large")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.bin")
    with pytest.raises(
        ValueError, match=r"other\.bin is no weight file of this tokenizer: none was released"
    ):
        Quadrants(tmp_path / "other.bin")


def test_half_precision_leaves_the_quantizer_and_the_pictures_in_fp32(monkeypatch):
    system = Quadrants(precision="bf16")
    seen = []
    inner = system.net.decode
    monkeypatch.setattr(
        system.net, "decode", lambda z: (seen.append(torch.is_autocast_enabled("cpu")), inner(z))[1]
    )
    latents = system.latents([flat(1 / 3)])
    assert (latents.dtype, system.decode_tensor(latents).dtype, seen) == (
        torch.float32,
        torch.float32,
        [True],
    )
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.slow
def test_compiled_halves_do_the_same(monkeypatch):
    """With the back end that needs no C++ compiler."""
    compiled = []
    real = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda half: (compiled.append(half.__name__), real(half))[1])
    plain, quick = Quadrants(quantizer=BinaryConfig(bits=12)), Quadrants(quantizer=BITS, compile=True)
    assert compiled == ["encode", "decode"]
    items = [torch.rand(3, 8, 8) for _ in range(3)]
    torch.testing.assert_close(quick.latents(items), plain.latents(items))
    codes = plain.encode(items)
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(codes, quick.encode(items), strict=True))
    torch.testing.assert_close(quick.decode_tensor(codes), plain.decode_tensor(codes))


@pytest.mark.parametrize("odd", [(1.0, 1.0), (1.0, -1.0), (0.0, float("nan"))])
def test_black_is_below_white(odd):
    with pytest.raises(ValueError, match="has no room: black is below white"):
        ImageConfig(range=odd)
