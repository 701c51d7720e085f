"""`recipes/eval_captions.py` and `sample_images.py --run` on a run with random weights: what they write and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from recipes import eval_captions, sample_images
from unitok import Vocabulary, create
from unitok.model import weights
from unitok.model.config import ModelConfig
from unitok.model.decoder import Decoder

CONFIG = """[vocabulary]
text = { use = "text.bytes" }
image = { use = "image.titok" }
[model]
depth = 1
[data]
seq_len = 128
[data.sources.photos]
path = "photos.jsonl"
fields = { image = "image", caption = "text" }
chat = [
    { user = "{image} Describe the picture.", assistant = "{caption}" },
    { user = "Draw this: {caption}", assistant = "{image}" },
]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for n, colour in enumerate(("red", "lime", "blue", "red", "blue")):
        picture = Image.new("RGB", (64, 64), "white")
        picture.paste(colour, (8, 8, 40 + n, 40))
        picture.save(folder / f"{n}.png")
        captions = [f"a {colour} box on white", f"something {colour}"]
        split = "train" if n < 3 else "heldout"
        rows.append({"key": str(n), "image": {"file": f"{n}.png"}, "caption": captions, "split": split})
    (folder / "photos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.toml").write_text(CONFIG)
    vocabulary = Vocabulary.build({"text": create("text.bytes"), "image": create("image.titok")})
    vocabulary.save(folder)
    torch.manual_seed(0)
    decoder = Decoder(ModelConfig.preset(1, vocab_size=len(vocabulary), width=32))
    weights.save(decoder, folder / "model")
    return folder


def test_captions_are_measured_beside_the_nearest_picture_and_chance(run: Path, tmp_path: Path):
    out = tmp_path / "captions.json"
    figures = eval_captions.main([str(run), "--source", "photos", "--budget", "20", "--out", str(out)])
    assert set(figures) == {"model", "nearest picture", "random caption"}
    assert figures["nearest picture"]["bleu1"] == pytest.approx(1, abs=1e-6)  # of the same colour
    assert figures["model"]["bleu4"] < 0.1
    written = json.loads(out.read_text())
    assert [row["key"] for row in written["captions"]] == ["3", "4"]
    assert written["captions"][0]["references"] == ["a red box on white", "something red"]
    assert "commit" in written


def test_a_caption_may_be_a_string_and_must_be_there(run: Path, tmp_path: Path):
    copy = shutil.copytree(run, tmp_path / "run")
    rows = [json.loads(line) for line in (run / "photos.jsonl").read_text().splitlines()]

    def asked(change: dict[str, object]) -> dict[str, dict[str, float]]:
        text = "".join(json.dumps({**row, "caption": row["caption"][0], **change}) + "\n" for row in rows)
        (copy / "photos.jsonl").write_text(text)
        return eval_captions.main(
            [str(copy), "--source", "photos", "--budget", "20", "--out", str(tmp_path / "c.json")]
        )

    assert asked({})["nearest picture"]["bleu4"] == pytest.approx(1, abs=1e-6)
    assert json.loads((tmp_path / "c.json").read_text())["captions"][0]["references"] == [
        "a red box on white"
    ]
    for change, words in (
        ({"split": "train"}, "5 records .* 0 that are heldout"),
        ({"caption": []}, "give a cap"),
    ):
        with pytest.raises(ValueError, match=words):
            asked(change)


def test_prompts_are_drawn_on_a_sheet(run: Path, tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    sample_images.main(
        [
            "--run",
            str(run),
            "--prompts",
            "a red box",
            "a blue box",
            "--each",
            "2",
            "--guidance",
            "2",
            "--out",
            str(sheet),
        ]
    )
    with Image.open(sheet) as image:
        assert image.width > 2 * 128


def test_what_is_missing_is_named(run: Path):
    with pytest.raises(ValueError, match="no source is called 'photo': there are photos"):
        eval_captions.main([str(run), "--source", "photo"])
    with pytest.raises(ValueError, match="chat template 1 of 'photos' asks for no text"):
        eval_captions.main([str(run), "--source", "photos", "--chat", "1"])


@pytest.mark.parametrize("budget", ["0", "2"])
def test_a_budget_of_pictures_that_cannot_be_cut_is_refused(run: Path, tmp_path: Path, budget: str):
    out = tmp_path / "sheet.png"
    with pytest.raises(ValueError, match="a budget for 'image', whose codes cannot be cut"):
        sample_images.main(["--run", str(run), "--prompts", "x", "--budget", budget, "--out", str(out)])
    assert not out.exists()
