"""Furniture from files: a bad record costs itself alone and is named."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def furniture():
    """The module, which its neighbours import as scripts do."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        yield importlib.import_module("room_qa.furniture")
    finally:
        sys.path.remove(str(ROOT / "tools"))


def bad(which, value):
    """Eight models of two kinds as columns of an .npz, with one value that is another."""
    draw = np.random.default_rng(0)
    rows = {
        "points": draw.uniform(size=(10, 8, 3)),
        "name": np.array(["Chair", "Desk"] * 5),
        "size_cm": draw.uniform(40, 90, size=(10, 3)),
    }
    rows[which][3] = value
    return rows


@pytest.mark.parametrize(
    ("which", "value", "said"),
    [
        ("points", np.nan, "8 of 8 points are not finite"),
        ("points", 0.5, "all its 8 points are in one place"),
        ("size_cm", -50, "its 'size_cm' is [-50.0, -50.0, -50.0]: give positive lengths"),
        ("size_cm", np.nan, "its 'size_cm' is [nan, nan, nan]: give positive lengths"),
        ("name", "", "its 'name' is '' and not a text"),
    ],
)
def test_a_bad_model_costs_itself_alone(furniture, tmp_path, which, value, said):
    np.savez(tmp_path / "f.npz", **bad(which, value))
    models, problems = furniture.read(tmp_path / "f.npz")
    assert sorted(model.number for model in models) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert len(problems) == 1
    assert problems[0].startswith(f"f.npz, record 3: {said}")


def test_bad_lines_of_records_are_named(furniture, tmp_path):
    np.savez(tmp_path / "a.npz", points=np.random.default_rng(0).uniform(size=(8, 3)))
    good = [
        json.dumps({"name": f"{name} {n}", "size_cm": [50 + n, 50, 70], "cloud": {"file": "a.npz"}})
        for name in ("Chair", "Desk")
        for n in range(4)
    ]
    worse = [
        "{torn",
        "[1]",
        '{"name": "Chair", "size_cm": [1, 2, 3]}',
        '{"name": "Chair", "size_cm": ["a", 2, 3], "cloud": {"file": "a.npz"}}',
        '{"name": "Chair", "size_cm": [1, 2, 3], "cloud": {"file": "gone.npz"}}',
    ]
    (tmp_path / "f.jsonl").write_text("\r\n".join([*worse, "", *good]))
    models, problems = furniture.read(tmp_path / "f.jsonl")
    assert len(models) == len(good)
    assert [said.partition(": ")[0] for said in problems] == [f"f.jsonl, line {n}" for n in range(1, 6)]
    assert "gone.npz" in problems[-1]
