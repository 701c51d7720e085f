"""`recipes/eval_clouds.py`: the report, the page and the picture; refusals."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from modalities.common.weights import save_weights
from modalities.pointcloud.peers.dvae import DVAEConfig, PatchDVAE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("eval_clouds", ROOT / "recipes" / "eval_clouds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["eval_clouds"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("data")
    shape = np.where(np.arange(24)[:, None, None] % 2, [1.0, 1, 0.1], [0.1, 0.1, 1])
    points = (random.uniform(-1, 1, (24, 128, 3)) * shape).astype(np.float16)
    kind = np.arange(24) % 2
    np.savez(
        root / "boxes.npz", train=points[:16], test=points[16:], kind_train=kind[:16], kind_test=kind[16:]
    )
    np.savez(root / "made.npz", points=points[:6])
    return root


def test_everything_is_reported(recipe: ModuleType, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.json"
    report = recipe.main(
        f"--data {data / 'boxes.npz'} --array test --labels kind_test --train-array train --train-labels kind_train "
        f"--generated {data / 'made.npz'} --points 64 --steps 30 --rows 2 --counts 4 16 --out {out}".split()
    )
    assert json.loads(out.read_text()) == report
    assert report["reconstruction"]["clouds"] == 8
    assert set(report["reconstruction"]["tokens"]) == {"4", "16"}
    assert report["classes"]["most frequent class"] == 0.5
    assert report["classes"]["classifier on originals"] > 0.8
    assert report["classes"]["linear probe of all codes"] > 0.8
    assert report["generation"]["real"]["mmd"] > 0
    assert Image.open(out.with_suffix(".png")).size == (4 * 256, 2 * 256)
    text = out.with_suffix(".html").read_text()
    assert "data:image/png;base64," in text
    assert "1-nna" in text
    assert str(data) not in text + out.read_text()  # no folder of this machine gets out


def test_the_peer_stands_in_the_same_table(recipe: ModuleType, data: Path, tmp_path: Path) -> None:
    config = DVAEConfig(groups=16, neighbours=8, codes=32, width=8)
    torch.manual_seed(0)
    save_weights(tmp_path / "peer.safetensors", PatchDVAE(config), config.model_dump(mode="json"))
    out = tmp_path / "report.json"
    found = recipe.main(
        f"--data {data / 'boxes.npz'} --array test --counts 64 --peer {tmp_path / 'peer.safetensors'} --out {out}".split()
    )["reconstruction"]
    whole, centres = found["peer"]["tables"].values()
    assert centres["cd1"] > found["floor (another sampling)"]["cd1"]
    assert whole["cd1"] != centres["cd1"]
    assert found["peer"]["bits"] == {"codes": 16 * 5, "centres given": 16 * 3 * 32}
    assert "16 centres given" in out.with_suffix(".html").read_text()


def test_refusals_are_one_sentence(recipe: ModuleType, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name a \.json file"):
        recipe.main(["--data", str(data / "boxes.npz"), "--out", str(tmp_path / "a.png")])
    with pytest.raises(ValueError, match="none of them called 'vox'"):
        recipe.main(["--data", str(data / "boxes.npz"), "--array", "vox", "--out", str(tmp_path / "a.json")])
    given = f"--data {data / 'boxes.npz'} --array test --out {tmp_path / 'a.json'}".split()
    for more, said in (  # all of them before any cloud is encoded
        ("--rows 0", "--rows 0: give at least 1"),
        ("--most -3", "--most -3: give at least 0"),
        ("--train-array train", "needs --labels and --train-labels"),
        (f"--generated {data / 'made.npz'} --points 65", "--points 65: half of each cloud .* 64 points"),
    ):
        with pytest.raises(ValueError, match=said):
            recipe.main([*given, *more.split()])
