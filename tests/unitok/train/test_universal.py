"""Checkpoints in the universal form, on one rank; `test_launch.py` changes the number of ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from train_toys import toy_trainer

from unitok.train import metrics
from unitok.train.checkpoint import CheckpointError

ROOT = Path(__file__).parents[3]


def convert(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "to_universal.py"), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in metrics.read(folder) if r["event"] == "step"]


def halt_at(step: int) -> object:
    def hook(trainer: object, event: str) -> None:
        if event == "save" and trainer.step == step:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    return hook


@pytest.mark.parametrize("stage", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_a_run_goes_on_from_the_universal_form(stage: int, tmp_path: Path) -> None:
    """Weights, moments, step counts and each group's own weight decay all come back."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    toy_trainer(whole, stage).fit()
    with pytest.raises(KeyboardInterrupt):
        toy_trainer(parts, stage, save_every=3, hooks=[halt_at(3)]).fit()
    manifest = parts / "checkpoints" / "step_00000003" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "world": 2}))
    with pytest.raises(CheckpointError, match="saved by 2 ranks under ZeRO"):
        toy_trainer(parts, stage).fit()
    done = convert(parts)
    assert done.returncode == 0, done.stderr
    toy_trainer(parts, stage).fit()
    assert losses(parts) == losses(whole)


def test_conversion_of_nothing_is_one_sentence(tmp_path: Path) -> None:
    done = convert(tmp_path)
    assert done.returncode == 2
    assert "holds no complete checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
