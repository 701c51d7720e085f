"""The bench of Any2Point on a small model, without the published repository beside it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from modalities.pointcloud.any2point import Any2Point
from modalities.pointcloud.any2point.config import SourceShape

TOOLS = Path(__file__).parents[2] / "tools"


def test_each_side_runs_in_half_precision_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_pointcloud as bench

    assert Path(bench.__file__) == TOOLS / "bench_pointcloud.py"
    shape = SourceShape(width=48, layers=1, heads=2, hidden=64)
    monkeypatch.setattr(bench, "Any2Point", partial(Any2Point, shape=shape, points=64, neighbours=8))
    found = bench.compare(None, "language", batch=2, repeats=1, bf16=True)
    for table in ("training clouds/CPU s", "logits clouds/CPU s"):
        assert set(found[table]) == {"ours", "ours, bf16"}
        assert all(rate > 0 for rate in found[table].values())
    assert set(bench.compare(None, "language", batch=2, repeats=1)["logits clouds/CPU s"]) == {"ours"}
    sys.modules.pop("bench_pointcloud")
