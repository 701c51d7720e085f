"""`image.titok`: the contract, golden codes, fidelity of the shipped weights, every quantizer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from modalities.common.weights import WeightsMismatch, save_weights
from modalities.image.base import SHIPPED
from modalities.image.io import to_image
from modalities.image.titok import TiTok
from unitok.modality import BadCodes, BadItem, Codes
from unitok.strict import ConfigError
from unitok.testing import conforms

GOLDEN = Path(__file__).parents[2] / "golden" / "titok_emoji64.json"
TINY: dict[str, Any] = {
    "size": 16,
    "patch": 8,
    "tokens": 4,
    "encoder": {"width": 16, "layers": 1, "heads": 2},
    "decoder": {"width": 16, "layers": 1, "heads": 2},
    "cls": False,
    "head": "pixel",
    "shift": 0.5,
}
QUANTIZERS: list[dict[str, Any]] = [
    {"kind": "fsq", "levels": (5, 4)},
    {"kind": "vq", "codes": 12, "dim": 3},
    {"kind": "vq", "codes": 12, "dim": 3, "own": True, "rate": 0.01},
    {"kind": "vq", "codes": 12, "dim": 3, "l2": True, "learn": "gradient"},
    {"kind": "binary", "bits": 6},
    {"kind": "binary", "bits": 12, "form": "bernoulli"},
]


@pytest.fixture(scope="module")
def titok() -> TiTok:
    return TiTok()


def test_the_shipped_tokenizer_keeps_the_contract(
    titok: TiTok, emoji: list[Image.Image], drawn: Image.Image
) -> None:
    conforms(titok, [*emoji, drawn], rebuild=TiTok)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("linear", [None, "pca"])
def test_every_quantizer_keeps_the_contract(
    quantizer: dict[str, Any], linear: str | None, drawn: Image.Image
) -> None:
    def build() -> TiTok:
        return TiTok(weights=None, linear=linear, components=8, reduced=8, quantizer=quantizer, **TINY)

    conforms(build(), [drawn, drawn.rotate(90), Image.new("L", (5, 9))], rebuild=build)


def test_golden_codes(titok: TiTok, emoji: list[Image.Image]) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert titok.spec.fingerprint == golden["fingerprint"]
    assert [codes.ids.tolist() for codes in titok.encode(emoji)] == golden["codes"]


def test_shipped_weights_beat_their_lines(titok: TiTok, emoji: list[Image.Image]) -> None:
    made = json.loads((SHIPPED / "emoji64.json").read_text())["made"]
    lines = made["baselines"]
    assert made["fidelity"]["psnr"] > max(lines["8x8 thumbnail"], lines["PCA 32"], lines["PCA 64"])
    assert (SHIPPED / "emoji64.safetensors").stat().st_size < 4_000_000
    psnr = [
        titok.compare(a, b)["psnr"] for a, b in zip(emoji, titok.decode(titok.encode(emoji)), strict=True)
    ]
    assert sum(psnr) / 3 > 18


def test_batches_of_any_size_give_the_same_codes(titok: TiTok, emoji: list[Image.Image]) -> None:
    many = [variant for picture in emoji for variant in titok.variants(picture, 12)]
    together = titok.encode(many)
    alone = [titok.encode([picture])[0] for picture in many]
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(together, alone, strict=True))


def test_variants_start_with_the_picture_and_its_mirror(titok: TiTok, drawn: Image.Image) -> None:
    found = titok.variants(drawn, 5)
    assert len(found) == 5
    assert found[0].tobytes() == drawn.tobytes()
    assert found[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes() == drawn.tobytes()
    assert all(each.tobytes() != drawn.tobytes() for each in found[1:])
    assert titok.variants(drawn, 1) == [drawn]
    assert titok.variants(Image.new("RGB", (1, 1)), 4)[3].size == (1, 1)


def test_files_show_compare_label(titok: TiTok, drawn: Image.Image, tmp_path: Path) -> None:
    titok.save(drawn, tmp_path / "a.png")
    back = titok.load(tmp_path / "a.png")
    assert titok.compare(drawn, back) == {"psnr": math.inf, "mae": 0.0}
    assert titok.compare(drawn, Image.new("RGB", (64, 64)))["psnr"] < 10
    assert titok.show(drawn).size == (64, 64)
    assert titok.label(drawn) == "picture of 100 x 80 pixels"
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.png"):
        titok.load(tmp_path / "b.png")


def test_items_may_be_tensors_and_paths(titok: TiTok, drawn: Image.Image, tmp_path: Path) -> None:
    titok.save(drawn, tmp_path / "a.png")
    tensor = torch.rand(3, 64, 64).mul(255).round() / 255
    a, b, c = titok.encode([drawn, str(tmp_path / "a.png"), tensor])
    assert torch.equal(a.ids, b.ids)
    assert torch.equal(c.ids, titok.encode([to_image(tensor)])[0].ids)
    assert titok.decode_tensor([a]).shape == (1, 3, 64, 64)
    assert titok.decode_tensor([]).shape == (0, 3, 64, 64)
    assert titok.encode([]) == []


def test_bad_items_name_their_place(titok: TiTok, drawn: Image.Image) -> None:
    for bad in (3, torch.zeros(3, 0, 5), "nowhere.png"):
        with pytest.raises(BadItem) as caught:
            titok.encode([drawn, bad])
        assert caught.value.index == 1


@pytest.mark.parametrize("ids", [[0] * 31, [0] * 33, [0] * 31 + [256], [-1] + [0] * 31])
def test_bad_codes_are_refused(titok: TiTok, ids: list[int]) -> None:
    with pytest.raises(BadCodes):
        titok.decode([Codes(torch.tensor(ids))])


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"patch": 0}, {"encoder": {"width": 16, "heads": 0}}, {"encoder": {"width": 0}}]
)
def test_sizes_of_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="= 0: input should be greater than or equal to 1"):
        TiTok(weights=None, **{**TINY, **options})


def test_decoding_takes_no_other_keyword(titok: TiTok, drawn: Image.Image) -> None:
    with pytest.raises(TypeError, match="decode takes text, and no size"):
        titok.decode(titok.encode([drawn]), size=128)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    small = TiTok(weights=None, **TINY)
    save_weights(tmp_path / "w.safetensors", small.net, {**small.config.model_dump(mode="json"), "tokens": 5})
    with pytest.raises(WeightsMismatch, match=r"latents is \[4, 16\] in the file, \[5, 16\]"):
        TiTok(tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError, match="emoji64"):
        TiTok("emoji65")
    with pytest.raises(TypeError, match="size"):
        TiTok(size=32)
    with pytest.raises(ValueError, match="did you mean 'tokens'"):
        TiTok(weights=None, token=3)


def test_saved_weights_give_the_same_tokenizer(tmp_path: Path, drawn: Image.Image) -> None:
    small = TiTok(weights=None, seed=3, **TINY)
    file = tmp_path / "w.safetensors"
    save_weights(file, small.net, small.config.model_dump(mode="json"), half=False)
    again = TiTok(file)
    assert again.spec.fingerprint == small.spec.fingerprint
    assert again.spec.fingerprint != TiTok(weights=None, seed=4, **TINY).spec.fingerprint
    assert torch.equal(again.encode([drawn])[0].ids, small.encode([drawn])[0].ids)
