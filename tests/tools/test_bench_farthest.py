"""`tools/bench_farthest.py` compares the same choices."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "bench_farthest.py"


def test_both_sides_choose_the_same_set(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError) as error:  # its wheel wants libraries of the system
        pytest.skip(f"open3d cannot be imported: {error}")
    monkeypatch.syspath_prepend(str(TOOL.parent))
    spec = importlib.util.spec_from_file_location("bench_farthest", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    rows = tool.main(["--points", "2100", "--count", "40", "--batches", "1", "2", "--repeats", "1"])
    assert [row["batch"] for row in rows] == [1, 2]
    assert all(row["same set"] for row in rows)
    assert all(row["ratio"] > 0 for row in rows)
