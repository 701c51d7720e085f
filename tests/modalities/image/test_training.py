"""TiTok trains: every quantizer's loss falls, the task's figures are what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from modalities.common.quantize import Quantized
from modalities.common.training import TokenizerTask
from modalities.image.base import Reconstruction
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
        out = task.judge(*batch, step=step)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(float(out.figures["l2"]))
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
    a, b, c = (task.batch(index, torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1))
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


def test_sources_are_drawn_by_their_share(folder: Path, tmp_path: Path) -> None:
    white = tmp_path / "white"
    white.mkdir()
    for n in range(30):
        (white / f"w{n}.png").write_bytes(write_image(Image.new("RGB", (16, 16), "white"), ".png"))
    data = {"train": [str(folder), str(white)], "share": [1, 3], "zoom": 0.0}
    task = TiTok.training_task(TINY, data, tmp_path)
    drawn = torch.cat([task.batch(torch.arange(64), torch.Generator().manual_seed(s))[0] for s in range(8)])
    plain = (drawn == 1).flatten(1).all(1).float().mean()
    assert 0.68 < float(plain) < 0.82
    with pytest.raises(ValueError, match="give each a share"):
        TiTok.training_task(TINY, {**data, "share": [1]}, tmp_path)


def test_losses_of_the_table_add_up_and_learn_both_sides(folder: Path) -> None:
    loss = {"l1": 0.5, "l2": 2.0, "perceptual": 0.1, "gan": {"weight": 0.2, "start": 1, "width": 32}}
    with pytest.warns(UserWarning, match="steerable-ms"):
        task = TiTok.training_task(TINY, {"train": [folder.name]}, folder.parent, loss)
    task.model.train()
    (batch,) = task.batch(torch.arange(8), torch.Generator().manual_seed(0))
    early, late = task.judge(batch, step=0), task.judge(batch, step=1)
    assert set(early.figures) == {"commitment", "l1", "l2", "perceptual"}
    assert set(late.figures) == {*early.figures, "gan", "discriminator"}
    assert float(late.loss) == pytest.approx(float(sum(late.figures.values())), rel=1e-5)
    late.loss.backward()
    sides = [task.model, task.objective]
    assert all(
        any(p.grad is not None and p.grad.abs().sum() > 0 for p in side.parameters()) for side in sides
    )
    groups = task.parameter_groups(1e-3)
    assert groups[-1]["weight_decay"] == 0.0
    with pytest.raises(ValueError, match="did you mean 'perceptual'"):
        TiTok.training_task(TINY, {"train": [folder.name]}, folder.parent, {"perceptal": 1.0})


def test_a_network_without_the_feature_that_a_loss_needs(folder: Path) -> None:
    task = TiTok.training_task(TINY, {"train": [folder.name]}, folder.parent)
    found = Reconstruction(torch.zeros(1, 3, 16, 16), Quantized(torch.zeros(1, 6, 16), None, {}))
    with pytest.raises(ValueError, match="gives no 'proxy_logits'"):
        task.objective._feature(found, "proxy_logits")  # type: ignore[union-attr]


def test_a_published_preset_may_be_changed(folder: Path) -> None:
    small = {"width": 32, "layers": 1, "heads": 2}
    model = {"preset": "bl64_vq8k", "size": 16, "patch": 8, "tokens": 6, "encoder": small, "decoder": small}
    task = TiTok.training_task({**model, "quantizer": {"codes": 32}}, {"train": [folder.name]}, folder.parent)
    assert task.config["quantizer"]["codes"] == 32
    assert task.config["quantizer"]["dim"] == 64
    assert task.config["start"] == "published"


def test_text_states_go_with_their_pictures(folder: Path, tmp_path: Path) -> None:
    keys = [f"{n:03}" for n in range(60)]
    save_file({key: torch.full((77, 768), float(key)) for key in keys}, tmp_path / "text.safetensors")
    data = {"train": [str(folder)], "text": "text.safetensors"}
    task = TiTok.training_task({**TINY, "text": 77}, data, tmp_path)
    pictures, text = task.batch(torch.arange(5), torch.Generator().manual_seed(0))
    assert text[:, 0, 0].tolist() == [float(key) for key in task.keys[:5]]  # type: ignore[attr-defined]
    assert task.judge(pictures, text, step=0).loss.isfinite()
    assert task.fidelity()["psnr"] > 0
