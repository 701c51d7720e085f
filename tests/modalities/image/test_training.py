"""TiTok trains: every quantizer's loss falls, the task's figures are what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from modalities.common.training import TokenizerTask
from modalities.image.io import write_image
from modalities.image.titok import TiTok, TiTokConfig, TiTokNet
from modalities.image.training import psnr

TINY: dict[str, Any] = {
    "size": 16,
    "patch": 8,
    "tokens": 6,
    "encoder": {"width": 32, "layers": 1, "heads": 2},
    "decoder": {"width": 32, "layers": 1, "heads": 2},
    "cls": False,
    "head": "pixel",
    "shift": 0.5,
    "quantizer": {"kind": "vq", "codes": 1024, "dim": 16},
}
QUANTIZERS: list[dict[str, Any]] = [
    {"kind": "fsq", "levels": (8, 6, 5)},
    {"kind": "vq", "codes": 32, "dim": 4},
    {"kind": "vq", "codes": 32, "dim": 4, "own": True},
    {"kind": "vq", "codes": 32, "dim": 4, "learn": "gradient"},
    {"kind": "binary", "bits": 8},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures of one disc each."""
    found = tmp_path_factory.mktemp("discs")
    generator = torch.Generator().manual_seed(0)
    for n in range(60):
        left, top, red, green = torch.randint(1, 10, (4,), generator=generator).tolist()
        image = Image.new("RGB", (16, 16), "white")
        ImageDraw.Draw(image).ellipse((left, top, left + 5, top + 5), fill=(25 * red, 25 * green, 80))
        (found / f"{n:03}.png").write_bytes(write_image(image, ".png"))
    return found


def build(folder: Path, **model: object) -> TokenizerTask:
    data = {"train": [folder.name], "zoom": 0.1, "kmeans": 4}
    return TiTok.training_task({**TINY, "components": 18, "reduced": 16, **model}, data, folder.parent)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("linear", [None, "pca"])
def test_loss_falls_with_every_quantizer(folder: Path, quantizer: dict[str, Any], linear: str | None) -> None:
    torch.manual_seed(0)
    task = build(folder, linear=linear, quantizer=quantizer)
    task.start()
    optimizer = torch.optim.AdamW(task.parameter_groups(3e-3))
    task.model.train()
    losses = []
    for step in range(60):
        batch = task.batch(torch.arange(40), torch.Generator().manual_seed(step))
        out = task.judge(batch)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(float(out.figures["mse"]))
    # without the linear path everything is to be learnt; with it half is there at the first step
    assert sum(losses[-5:]) < (0.6 if linear is None else 0.95) * sum(losses[:5])


def test_the_linear_start_beats_the_same_network_without_it(folder: Path) -> None:
    torch.manual_seed(0)
    with_path, without = build(folder, linear="pca"), build(folder)
    for task in (with_path, without):
        task.start()
        task.model.eval()
    assert with_path.fidelity()["psnr"] > without.fidelity()["psnr"] + 3
    lines = with_path.baselines()
    assert lines["quantised PCA, our start"] == with_path.fidelity()["psnr"]
    assert lines["PCA 12"] > lines["PCA 6"] > lines["mean picture"]


def test_codes_are_those_of_the_modality(folder: Path) -> None:
    task = build(folder, quantizer={"kind": "binary", "bits": 12})
    task.model.eval()
    codes = task.codes(task.heldout)
    assert codes.shape == (len(task.heldout), 6, 2)
    assert task.quantizer.parts == (256, 16)


def test_batches_are_pictures_and_change_with_the_generator_alone(folder: Path) -> None:
    task = build(folder)
    index = torch.arange(8)
    a, b, c = (task.batch(index, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert a.shape == (8, 3, 16, 16)
    assert 0 <= float(a.min()) <= float(a.max()) <= 1
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_psnr_of_known_errors() -> None:
    wanted = torch.zeros(2, 3, 4, 4)
    assert psnr(wanted + 0.1, wanted) == pytest.approx(20, abs=1e-4)
    assert psnr(wanted - 5, wanted) == pytest.approx(100)  # clamped


def test_settings_are_strict(folder: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'tokens'"):
        build(folder, token=3)
    with pytest.raises(ValueError, match="did you mean 'zoom'"):
        TiTok.training_task({}, {"train": [], "zom": 0.1}, folder)
    with pytest.raises(ValueError, match="does not divide"):
        TiTokNet(TiTokConfig(size=60))
