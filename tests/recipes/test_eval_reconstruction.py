"""The reconstruction recipe and what it is made of: what it writes, what it skips, systems without codes."""

from __future__ import annotations

import io
import json
import math
import runpy
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unitok
from modalities.common.losses.steerable import Steerable
from modalities.image.fidelity import FeatureSpace, feature_space
from modalities.image.io import fit, to_tensor
from modalities.image.reconstruction import evaluate, figure
from unitok.modality import BadItem

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo" / "images"
NAMES = ("1f605", "1f42d", "2615", "1f34e", "1f697")


@pytest.fixture(scope="module")
def recipe():
    return runpy.run_path(str(ROOT / "recipes" / "eval_reconstruction.py"))["main"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five emoji, a damaged one, and a text that claims to be a picture."""
    out = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        (out / f"{name}.webp").write_bytes((DEMO / f"{name}.webp").read_bytes())
    (out / "cut.webp").write_bytes((DEMO / "2615.webp").read_bytes()[:-400])
    (out / "words.png").write_text("no picture at all")
    (out / "notes.txt").write_text("of no interest")
    return out


@pytest.fixture(scope="module")
def report(recipe, folder, tmp_path_factory):
    """A whole run, on the weights that ship."""
    out = tmp_path_factory.mktemp("out") / "deep" / "report.json"
    found = recipe(["--modality", "image.titok", "--weights", "emoji64", "--images", str(folder),
                    "--out", str(out), "--batch", "2"])  # fmt: skip
    assert json.loads(out.read_text()) == found
    return found, out


def test_the_report_holds_every_figure_under_its_name(report):
    found, _ = report
    assert (found["modality"], found["weights"], found["count"]) == ("image.titok", "emoji64", 5)
    assert found["pixels"] == [64, 64]
    assert found["perceptual"]["name"] == "steerable-ms"
    assert found["frechet"]["name"] == "frechet-steerable"
    assert found["frechet"]["value"] > 0
    assert found["frechet"]["floor"] > 0
    assert found["bits_per_image"] == 256  # 32 codes of 256
    assert 0 < found["usage"] <= 5 * 32 / (32 * 256)
    assert 1 < found["perplexity"] <= 5
    assert found["images_per_second"]["encode"] > 0
    assert found["images_per_second"]["decode"] > 0


def test_its_psnr_is_that_of_the_tokenizer(report):
    found, _ = report
    tokenizer = unitok.create("image.titok", weights="emoji64")
    items = [tokenizer.load(DEMO / f"{name}.webp") for name in NAMES]
    made = tokenizer.decode(tokenizer.encode(items))
    psnr = [tokenizer.compare(a, b)["psnr"] for a, b in zip(items, made, strict=True)]
    assert found["psnr"] == pytest.approx(np.mean(psnr), abs=1e-3)
    assert 0.3 < found["ssim"] < 1


def test_bad_files_are_skipped_and_named(report):
    found, _ = report
    skipped = {each["file"]: each["reason"] for each in found["skipped"]}
    assert skipped.keys() == {"cut", "words"}
    assert all("picture" in reason for reason in skipped.values())  # the sentence of the reader


def test_a_picture_shows_each_pair(report):
    found, out = report
    sheet = Image.open(out.with_suffix(".png"))
    assert sheet.size[0] > 6 * 128
    assert found["count"] == 5
    original = fit(Image.open(DEMO / "1f34e.webp"), 64).resize((128, 128), Image.Resampling.NEAREST)
    pixels, wanted = np.asarray(sheet), np.asarray(original)
    places = [
        (y, x)
        for y in range(0, sheet.height - 127)
        for x in range(0, 24)
        if (pixels[y : y + 128, x : x + 128] == wanted).all()
    ]
    assert len(places) == 1  # sorted by name it comes first, on the left


def test_a_tar_gives_what_its_folder_gives_and_a_cut_one_what_it_has(recipe, folder, report, tmp_path):
    path = tmp_path / "pictures.tar"
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    arguments = ["--out", str(tmp_path / "report.json"), "--batch", "2", "--images"]
    found = recipe([*arguments, str(path)])
    for name in ("count", "skipped", "psnr", "ssim", "frechet", "usage", "bits_per_image"):
        assert found[name] == report[0][name], name
    path.write_bytes(path.read_bytes()[:9000])
    found = recipe([*arguments, str(path)])
    assert 0 < found["count"] < 5
    assert "broke off" in found["skipped"][-1]["reason"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "report.png"], "name the report"),
        (["--batch", "0"], "at least 1"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(recipe, folder, tmp_path, words, said):
    out = ["--out", str(tmp_path / "report.json")]
    with pytest.raises(ValueError, match=said):
        recipe(["--images", str(folder), *out, *words])


def test_a_file_that_cannot_be_opened_spoils_no_other(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "z.png")
    found = evaluate(unitok.create("image.titok"), tmp_path, Steerable()).report
    assert (found["count"], [each["file"] for each in found["skipped"]]) == (1, ["a"])


def test_nothing_to_measure_is_an_error_of_one_sentence(recipe, tmp_path):
    (tmp_path / "words.png").write_text("no picture at all")
    with pytest.raises(ValueError, match="no picture could be reconstructed .words: "):
        recipe(["--images", str(tmp_path), "--out", str(tmp_path / "report.json")])
    with pytest.raises(ValueError, match="is no folder"):
        recipe(["--images", str(tmp_path / "none"), "--out", str(tmp_path / "report.json")])
    assert not (tmp_path / "report.json").exists()


SMALL = ("weights=null", "size=32", "tokens=4")


def test_options_reach_the_tokenizer(recipe, folder, tmp_path):
    arguments = ["--images", str(folder), "--out", str(tmp_path / "report.json"), "--pairs", "0", *SMALL]
    found = recipe([*arguments, 'quantizer={"kind": "vq", "codes": 16, "dim": 4}'])
    assert found["pixels"] == [32, 32]
    assert found["bits_per_image"] == 16
    assert not (tmp_path / "report.png").exists()
    with pytest.raises(ValueError, match="tokenz"):
        recipe(["--images", str(folder), "weights=null", "tokenz=4"])


def test_a_system_with_a_kl_bottleneck_has_no_bits(recipe, folder, tmp_path):
    arguments = ["--images", str(folder), "--out", str(tmp_path / "report.json"), *SMALL]
    found = recipe([*arguments, 'quantizer={"kind": "kl", "dim": 4}'])
    assert found["count"] == 5
    assert found["bits_per_image"] is None
    assert found["usage"] is None


class Continuous:
    """A system without codes whose latents are a thumbnail; it takes no picture called for being too wide."""

    size = 32

    @property
    def spec(self):
        raise TypeError("continuous latents have no codes")

    def latents(self, items):
        for index, item in enumerate(items):
            if item.width > 3 * item.height:
                raise BadItem(index, "a picture of this shape: crop it")
        pictures = torch.stack([to_tensor(item, self.size) for item in items])
        return torch.nn.functional.avg_pool2d(pictures, 2)

    def decode_tensor(self, latents):
        return 1.5 * torch.nn.functional.interpolate(latents, scale_factor=2) - 0.1  # leaves [0, 1]

    def show(self, item):
        return fit(item, self.size)


def test_continuous_latents_are_decoded_and_have_no_bits(folder, tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.webp").write_bytes((folder / f"{name}.webp").read_bytes())
    wide = io.BytesIO()
    Image.new("RGB", (400, 20), "white").save(wide, "PNG")
    (tmp_path / "2000-wide.png").write_bytes(wide.getvalue())
    seen = []
    found = evaluate(Continuous(), tmp_path, Steerable(), batch=3, keep=2, seen=seen.append)
    assert found.report["count"] == 5
    assert found.report["skipped"] == [{"file": "2000-wide", "reason": "a picture of this shape: crop it"}]
    for name in ("usage", "perplexity", "bits_per_image"):
        assert found.report[name] is None
    assert seen == [3, 6]
    assert [pair.name for pair in found.pairs] == sorted(NAMES)[:2]
    assert math.isfinite(found.report["psnr"])
    assert figure(found.pairs).size == (4 * 136 + 8, 8 + 21 + 136)


def test_a_perfect_tokenizer_has_nothing_to_improve(folder):
    class Perfect(Continuous):
        def latents(self, items):
            return torch.stack([to_tensor(item, self.size) for item in items])

        def decode_tensor(self, latents):
            return latents

    found = evaluate(Perfect(), folder, Steerable(), feature_space()).report
    assert found["psnr"] == 100
    assert found["ssim"] == pytest.approx(1)
    assert found["perceptual"]["value"] == 0
    assert found["frechet"]["value"] == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_is_taken_where_it_is_said(folder):
    space = FeatureSpace("means", lambda pictures: pictures.mean((2, 3)))
    found = evaluate(Continuous(), folder, Steerable(), space).report["frechet"]
    assert found["name"] == "means"
    assert found["value"] > 0
