from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from unitok.train import metrics


def test_summary_gives_means_by_kind_and_over_all() -> None:
    sums = torch.tensor([[0.0, 30.0, 8.0], [0.0, 10.0, 2.0]], dtype=torch.float64)
    record = metrics.summary(sums, ("mark", "text", "image"), {"image": 32.0, "mark": 1.0})
    assert record["loss"] == pytest.approx(38 / 12)
    assert record["nats"] == {"text": 3.0, "image": 4.0}
    assert record["weight"] == {"text": 10.0, "image": 2.0}
    assert record["bits_per_item"] == {"image": pytest.approx(4.0 * 32 / math.log(2))}


def test_a_step_without_loss_has_no_mean() -> None:
    record = metrics.summary(torch.zeros(2, 2), ("a", "b"))
    assert record["loss"] is None
    assert record["nats"] == {}


def test_a_resumed_run_drops_the_lines_after_its_step(tmp_path: Path) -> None:
    first = metrics.JsonLines(tmp_path, 0)
    for step in range(1, 6):
        first.write({"event": "step", "step": step, "run": 1})
    first.close()
    with (tmp_path / metrics.FILE).open("a") as file:
        file.write('{"event": "st')  # the crash
    second = metrics.JsonLines(tmp_path, 3)
    second.write({"event": "step", "step": 4, "run": 2})
    second.close()
    found = [(r["step"], r["run"]) for r in metrics.read(tmp_path)]
    assert found == [(1, 1), (2, 1), (3, 1), (4, 2)]


def test_a_fresh_run_begins_a_fresh_file(tmp_path: Path) -> None:
    (tmp_path / metrics.FILE).write_text(json.dumps({"event": "start", "step": 0}) + "\n")
    metrics.JsonLines(tmp_path, 0).close()
    assert metrics.read(tmp_path) == []


def test_the_bar_prints_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bar = metrics.Bar(40, 0)
    for step in range(1, 41):
        bar.write({"event": "step", "step": step, "loss": 2.0, "per_s": 1234.0})
    bar.write({"event": "heldout", "step": 40, "nats": {"text": 1.5}})
    bar.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert "loss 2.000" in lines[0]
    assert "1,234 tokens/s" in lines[0]
    assert "text 1.500" in lines[-1]
