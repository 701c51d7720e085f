"""A generator trains on labelled pictures, resumes, and its pictures land on a sheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from modalities.common.weights import WeightsMismatch
from modalities.image.generate import open_generator
from modalities.image.generate.training import _records
from recipes import sample_images, train_generator

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs of two colours on white, labelled."""
    folder = tmp_path_factory.mktemp("discs")
    rows = []
    for name, colour in COLOURS.items():
        for number in range(6):
            image = Image.new("RGB", (64, 64), "white")
            ImageDraw.Draw(image).ellipse((5 + number, 5, 50, 50 + number), fill=colour)
            image.save(folder / f"{name}{number}.png")
            split = "heldout" if number == 5 else "train"
            rows.append({"image": {"file": f"{name}{number}.png"}, "name": name, "split": split})
    (folder / "discs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(("kind", "extra"), [("maskgit", []), ("rar", ["loss.anneal=[2, 4]"])])
def test_train_and_draw(pictures: Path, tmp_path: Path, kind: str, extra: list[str]):
    config = tmp_path / "tiny.toml"
    config.write_text(
        f"""generator = "{kind}"
run = "{tmp_path}/run"
output = "{tmp_path}/{kind}.safetensors"
[model]
width = 32
layers = 2
heads = 4
hidden = 64
[data]
path = "{pictures}/discs.jsonl"
[train]
rows = 4
steps = 6
eval_every = 3
progress = false
"""
    )
    train_generator.main([str(config), *extra])
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "heldout" for event in events) == 2
    about = json.loads((tmp_path / f"{kind}.json").read_text())["config"]
    assert about["classes"] == ["blue", "red"]
    assert about["model"]["tokens"] == 32
    sheet = tmp_path / "sheet.png"
    sample_images.main(
        [
            "--generator",
            str(tmp_path / f"{kind}.safetensors"),
            "--classes",
            "red",
            "blue",
            "--each",
            "2",
            "--out",
            str(sheet),
        ]
    )
    with Image.open(sheet) as image:
        assert image.width > 2 * 128
    with pytest.raises(ValueError, match=r"class 2 is outside 0 \.\. 1"):
        sample_images.main(
            ["--generator", str(tmp_path / f"{kind}.safetensors"), "--classes", "2", "--out", str(sheet)]
        )
    about = tmp_path / f"{kind}.json"
    told = json.loads(about.read_text())
    told["config"]["tokenizer"]["fingerprint"] = "abc"
    about.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="writes codes of image.titok with fingerprint abc"):
        sample_images.main(
            ["--generator", str(tmp_path / f"{kind}.safetensors"), "--classes", "red", "--out", str(sheet)]
        )
    with pytest.raises(ValueError, match="no class is called 'green': there are blue, red"):
        sample_images.main(
            ["--generator", str(tmp_path / f"{kind}.safetensors"), "--classes", "green", "--out", str(sheet)]
        )


def test_files_that_do_not_say_what_they_are(tmp_path: Path):
    torch.save({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="does not say which generator it is of: name one of maskgit, rar"):
        open_generator(tmp_path / "x.pt")
    with pytest.raises(ValueError, match="no generator is called 'gan'"):
        open_generator(tmp_path / "x.pt", "gan")
    with pytest.raises(WeightsMismatch, match="has no tensor 'pos_embed': it is no released rar"):
        open_generator(tmp_path / "x.pt", "rar")


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="nothing to draw"):
        sample_images.main(["--generator", "x"])
    with pytest.raises(ValueError, match="--each 0: give at least 1"):
        sample_images.main(["--generator", "x", "--each", "0"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "is no JSON"),
        ("[1]", "lacks an image"),
        ('{"image": "a.png"}', "lacks an image or the field 'name'"),
        ("", "has no records"),
    ],
)
def test_records_that_cannot_be_used_name_their_line(tmp_path: Path, line: str, words: str):
    (tmp_path / "x.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=words):
        list(_records(tmp_path / "x.jsonl", "name"))


def test_an_unknown_word_of_the_loss(pictures: Path, tmp_path: Path):
    config = tmp_path / "tiny.toml"
    config.write_text(
        f'generator = "maskgit"\nrun = "{tmp_path}/r"\noutput = "{tmp_path}/o.safetensors"\n[data]\npath = "{pictures}/discs.jsonl"\n'
    )
    small = ["model.width=32", "model.layers=2", "model.heads=4", "model.hidden=64"]
    with pytest.raises(ValueError, match=r"\[loss\] of maskgit has no dorp"):
        train_generator.main([str(config), *small, "loss.dorp=0.1"])
    with pytest.raises(
        ValueError, match="bits_ar writes several codes to a position, such as image.instella"
    ):
        train_generator.main([str(config), "generator=bits_ar"])
