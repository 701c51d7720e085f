"""DetailFlow's generator trains on corrected codes and draws, through the recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from modalities.common.weights import save_weights
from modalities.image.detailflow import DetailFlow
from modalities.image.generate.training import GeneratorData, LabelledCodes
from recipes import sample_images, train_generator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Discs of two colours, labelled; and a tokenizer with random weights."""
    rows = []
    for name, colour in {"red": (220, 30, 30), "blue": (30, 30, 220)}.items():
        for number in range(5):
            image = Image.new("RGB", (32, 32), "white")
            ImageDraw.Draw(image).ellipse((5 + number, 5, 25, 25 + number), fill=colour)
            image.save(tmp_path / f"{name}{number}.png")
            split = "heldout" if number == 4 else "train"
            rows.append({"image": {"file": f"{name}{number}.png"}, "name": name, "split": split})
    (tmp_path / "discs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    half = {"width": 32, "layers": 1, "heads": 2}
    vq = {"kind": "vq", "codes": 32, "dim": 4, "l2": True, "learn": "gradient"}
    made = DetailFlow(size=32, tokens=12, group=4, encoder=half, decoder=half, quantizer=vq)
    save_weights(tmp_path / "tok.safetensors", made.net, made.config.model_dump(mode="json"))  # type: ignore[arg-type]
    return tmp_path


def run(folder: Path, *words: str) -> None:
    config = folder / "tiny.toml"
    config.write_text(
        f"""generator = "groups"
tokenizer = "image.detailflow"
run = "{folder}/run"
output = "{folder}/groups.safetensors"
[options]
weights = "{folder}/tok.safetensors"
[model]
group = 4
width = 32
layers = 2
heads = 4
hidden = 64
[loss]
correction = 0.5
[data]
path = "discs.jsonl"
corrected = true
[train]
rows = 4
steps = 6
eval_every = 3
progress = false
"""
    )
    train_generator.main([str(config), *words])


def test_train_on_corrected_codes_and_draw(folder: Path) -> None:
    run(folder)
    about = json.loads((folder / "groups.json").read_text())["config"]
    assert (about["model"]["tokens"], about["model"]["codes"]) == (12, 32)
    sample_images.main(
        ["--generator", str(folder / "groups.safetensors"), "--weights", str(folder / "tok.safetensors"),
         "--classes", "red", "blue", "--out", str(folder / "sheet.png")]
    )  # fmt: skip
    assert (folder / "sheet.png").is_file()


def test_rows_are_the_class_and_triples(folder: Path) -> None:
    tokenizer = DetailFlow(folder / "tok.safetensors")
    data = GeneratorData(path="discs.jsonl", corrected=True)
    rows = LabelledCodes(tokenizer, data, folder)
    assert rows.shape == (12, 3)
    assert rows.train.shape == (16, 1 + 36)
    assert rows.heldout.shape == (4, 1 + 36)
    plain = LabelledCodes(tokenizer, GeneratorData(path="discs.jsonl"), folder)
    assert plain.shape == (12,)
    assert rows.train[:, 1:].unflatten(1, (12, 3))[..., 0].equal(plain.train[:, 1:])
    assert rows.train.equal(LabelledCodes(tokenizer, data, folder).train)


def test_what_cannot_be_corrected_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="data.corrected = true is for the generator groups: gpt learns"):
        run(folder, "generator=gpt", "loss={}", "model={width=32, layers=1, heads=2, hidden=32}")
    with pytest.raises(ValueError, match=r"image\.titok corrects no codes: image\.detailflow does"):
        run(folder, "tokenizer=image.titok", 'options.weights="emoji64"')
