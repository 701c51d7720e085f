"""`recipes/sample_clouds.py` on a run with random weights: what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import leave

from modalities.pointcloud.metrics.report import read_set
from recipes import sample_clouds


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for n in range(4):
        points = np.random.default_rng(n).normal(size=(64 + n, 3)).astype(np.float32)
        np.savez(folder / f"{n}.npz", points=points)
        for kind in ("named", "kind"):
            turns = [
                {"role": "user", "content": f"Make a model of a chair, {kind} {n}."},
                {"role": "assistant", "content": [{"cloud": {"file": f"{n}.npz"}}]},
            ]
            side = "train" if n < 1 else "heldout"
            rows.append({"key": f"{kind}/{n}", "split": side, "kind": kind, "turns": turns})
    (folder / "shapes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    leave(folder, "shapes")
    return folder


def test_held_out_records_are_asked_and_clouds_saved(run, tmp_path):
    out = tmp_path / "deep" / "made.npz"
    arguments = [
        str(run),
        "--data",
        str(run / "shapes.jsonl"),
        "--each",
        "2",
        "--rows",
        "2",
        "--out",
        str(out),
    ]
    found = sample_clouds.main(arguments)
    with np.load(out) as file:
        assert set(file.files) == {"points", "asked", "reference"}
        assert all(np.array_equal(file[name], found[name]) for name in file.files)
    assert found["points"].shape == (6, 1024, 3)
    asked = [f"Make a model of a chair, named {n}." for n in (1, 2, 3)]
    assert found["asked"].tolist() == asked * 2
    assert found["reference"].shape == (3, 65, 3)  # as many points as the smallest has
    with np.load(run / "1.npz") as own:
        assert np.array_equal(found["reference"][0], own["points"])
    assert not np.array_equal(found["points"][:3], found["points"][3:])  # another seed
    assert Image.open(out.with_suffix(".png")).size == (3 * 256, 2 * 256)
    assert read_set(out, 32).shape == (6, 32, 3)  # as eval_clouds.py reads it
    again = sample_clouds.main(arguments)
    assert np.array_equal(again["points"], found["points"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "none"], r"8 records, of which 0 are of kind 'none' and none is held out"),
        (["--each", "0"], "--each 0, --out"),
        (["--out", "made.ply"], "made.ply: give 1 or more, and an .npz"),
        (["--block", "shape"], "has no block 'shape': there are text, cloud"),
    ],
)
def test_mistakes_are_said(run, arguments, said):
    with pytest.raises(ValueError, match=said):
        sample_clouds.main([str(run), "--data", str(run / "shapes.jsonl"), *arguments])
