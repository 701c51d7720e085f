"""SEED's two stages on coloured squares: captions are read, pairs are found, codes tell what the Q-Former knew."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from seed_tiny import TINY

from modalities.common.training import held_out
from modalities.image.seed import Seed
from modalities.image.seed_captions import captions
from modalities.image.seed_training import SeedLoss, SeedTask
from unitok.strict import ConfigError, validate

COLOURS = {
    "red": (220, 30, 30), "green": (20, 160, 40), "blue": (30, 50, 220), "yellow": (240, 220, 40),
    "black": (5, 5, 5), "white": (250, 250, 250), "purple": (140, 30, 160), "grey": (128, 128, 128),
}  # fmt: skip
MODEL: dict[str, Any] = {**TINY, "quantizer": {"kind": "vq", "codes": 16, "dim": 4}}
FIRST = {"contrast": {"temperature": 0.07, "smoothing": 0.1}}
KEEPS = ["vision", "norm_vision", "qformer", "captions", "to_vector"]


def key(colour: str, out: bool, start: int = 0) -> str:
    """A name that is held out, or not."""
    return next(name for i in range(start, 999) if held_out(name := f"{colour}{i}") == out)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training and a held-out picture of each colour, and their captions."""
    folder = tmp_path_factory.mktemp("colours")
    for colour, rgb in COLOURS.items():
        for out in (False, True):
            name = key(colour, out)
            Image.new("RGB", (16, 16), rgb).save(folder / f"{name}.png")
            (folder / f"{name}.json").write_text(
                json.dumps({"captions": [f"a {colour} square", f"all {colour}"]})
            )
    return folder


def task(source: Path, loss: dict[str, Any], **model: Any) -> SeedTask:
    torch.manual_seed(0)
    made = Seed.training_task({**MODEL, **model}, {"train": [str(source)], "flip": False}, source, loss)
    assert isinstance(made, SeedTask)
    return made


def steps(made: SeedTask, count: int, lr: float = 5e-3) -> list[float]:
    """Train for some steps; the losses."""
    optimizer = torch.optim.AdamW(made.parameter_groups(lr), lr=lr)
    found = []
    made.model.train()
    for step in range(count):
        made.before_step(step, count)
        batch = made.batch(torch.arange(len(made.train)), torch.Generator().manual_seed(step))
        loss = made.judge(*batch, step=step).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    made.model.eval()
    return found


def test_both_stages(source: Path) -> None:
    first = task(source, FIRST)
    assert first.headline == "i2t_r5"
    assert first.baselines()["chance r1"] == 1 / 8
    losses = steps(first, 200)
    assert losses[-1] < losses[0] / 1.5
    found = first.fidelity()
    assert found["i2t_r1"] >= 0.75  # chance is 1 / 8
    assert found["t2i_r1"] >= 0.75
    assert first.objective.contrast is not None
    assert first.objective.contrast.log_scale.grad is not None

    second = task(source, {"vq": 5.0, "recon": 2.0, "distil": 0.5, "l2": 10.0})
    second.model.load_state_dict(first.model.state_dict())
    for name, parameter in second.model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] not in KEEPS)
    kept = {n: p.clone() for n, p in second.model.named_parameters() if not p.requires_grad}
    losses = steps(second, 140)
    assert losses[-1] < losses[0] / 2
    assert all(torch.equal(kept[n], p) for n, p in second.model.named_parameters() if n in kept)
    assert set(kept) >= {"vision.cls", "to_vector.weight"}
    found = second.fidelity()
    assert found["i2t_r1"] >= 0.5  # from codes
    codebook = second.quantizer.codebook.clone()  # a run that goes on from this one does not begin it anew
    again = task(source, {"recon": 2.0})
    again.model.load_state_dict(second.model.state_dict())
    again.before_step(0, 1)
    assert torch.equal(again.quantizer.codebook, codebook)
    fresh = task(source, {"recon": 2.0})
    before = fresh.quantizer.codebook.clone()
    fresh.before_step(0, 1)
    assert not torch.equal(fresh.quantizer.codebook, before)
    unpainted = task(source, {"recon": 2.0, "l2": 0}, painter=None)
    unpainted.model.load_state_dict(
        {k: t for k, t in second.model.state_dict().items() if not k.startswith("painter")}
    )
    assert unpainted.headline == "cosine"
    assert unpainted.fidelity()["cosine"] == pytest.approx(found["cosine"], abs=1e-5)
    assert found["cosine"] > unpainted.baselines()["mean tokens"]
    assert found["psnr"] > second.baselines()["mean picture"] + 3


def test_the_first_stage_reads_one_caption_of_each_picture_by_the_generator(source: Path) -> None:
    made = task(source, FIRST)
    index = torch.arange(8)
    seen = {
        tuple(made.batch(index, torch.Generator().manual_seed(s))[1][0, 0, :1].tolist()) for s in range(8)
    }
    assert len(seen) == 2  # "a" or "all"
    one, two = (made.batch(index, torch.Generator().manual_seed(3))[1] for _ in range(2))
    assert torch.equal(one, two)


def test_captions_are_found_beside_pictures_in_every_kind_of_source(tmp_path: Path) -> None:
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "folder" / "b.json").write_text('{"label": "frog", "tags": ["green", "pond"]}')
    (tmp_path / "folder" / "c.json").write_text('{"width": 3}')
    assert captions(tmp_path / "folder") == {"sub-a": ("one", "two"), "b": ("frog", "frog, green, pond")}
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, text in (("k.json", '{"caption": "a cup"}'), ("m.jpg", "")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    assert captions(tmp_path / "x.tar") == {"k": ("a cup",)}
    records = [
        {"image": {"file": "p/q.png"}, "caption": ["x", "y"]},
        {"image": "r.png", "text": "z"},
        {"text": "n"},
    ]
    (tmp_path / "y.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert captions(tmp_path / "y.jsonl") == {"q": ("x", "y"), "p-q": ("x", "y"), "r": ("z",)}
    (tmp_path / "folder" / "d.json").write_text("{")
    with pytest.raises(ValueError, match="d is no JSON .* mend it"):
        captions(tmp_path / "folder")
    with pytest.raises(ValueError, match=r"is no folder, \.tar"):
        captions(tmp_path / "nowhere")


def test_a_picture_without_a_caption_stops_the_first_stage_alone(source: Path, tmp_path: Path) -> None:
    for file in source.glob("*.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(KeyError, match="no caption beside picture"):
        task(tmp_path, FIRST).batch(torch.arange(2), torch.Generator())
    second = task(tmp_path, {"recon": 2.0})
    assert set(second.fidelity()) == {"psnr", "ssim", "cosine"}


def test_tables_that_ask_for_what_is_not_there_are_refused(source: Path) -> None:
    with pytest.raises(ConfigError, match="contrast is the first stage, recon the second"):
        validate(SeedLoss, {**FIRST, "recon": 1.0}, "[loss]")
    with pytest.raises(ValueError, match=r"needs a reader of captions: set model\.captions"):
        task(source, FIRST, captions=None)
    with pytest.raises(ValueError, match=r"embedding 6 = contrast 8: give distil\.encoder"):
        task(source, {"distil": 0.5}, embedding=6)
    with pytest.raises(ValueError, match=r"paints no pictures: set l2 = 0, or give model\.painter"):
        task(source, {"l2": 1.0}, painter=None)
    with pytest.raises(ValueError, match=r"nothing would tell how good the codes are"):
        task(source, {"l2": 0}, painter=None, semantic=False)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        task(source, {"distil": {"encoder": "nowhere"}})
