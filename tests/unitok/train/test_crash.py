"""Runs that are killed, and runs on a machine without a compiler: each in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from train_toys import toy_trainer

from unitok.train import metrics

TESTS = Path(__file__).parents[2]
RUN = "steps=6"


def program(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, str(TESTS / "train_toys.py"), str(folder), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def losses(folder: Path) -> list[dict[str, Any]]:
    kept = ("step", "loss", "grad_norm", "lr")
    return [{k: r[k] for k in kept} for r in metrics.read(folder) if r["event"] == "step"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole")
    toy_trainer(folder, steps=6).fit()
    return losses(folder)


@pytest.mark.parametrize("place", ["save", "seal"])
def test_kill_9_during_a_save_leaves_the_last_checkpoint(place: str, whole: Any, tmp_path: Path) -> None:
    """Killed in the middle of a file, and with all files written but the manifest."""
    done = program(tmp_path, RUN, "save_every=2", f"die={place}", "at=4")
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    found = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert found == ["latest", "step_00000002", "step_00000004.tmp"]
    trainer = toy_trainer(tmp_path, steps=6, save_every=2)
    trainer.fit()
    assert losses(tmp_path) == whole
    assert not list((tmp_path / "checkpoints").glob("*.tmp"))


def test_a_run_killed_at_a_random_step_goes_on_to_the_bit(whole: Any, tmp_path: Path) -> None:
    at = random.Random().randint(1, 5)
    done = program(tmp_path, RUN, "save_every=1", "die=step", f"at={at}")
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert [r["step"] for r in losses(tmp_path)] == list(range(1, at + 1))
    toy_trainer(tmp_path, steps=6, save_every=1).fit()
    assert losses(tmp_path) == whole, f"killed at step {at}"


def test_no_compiler_is_needed(whole: Any, tmp_path: Path) -> None:
    """A PATH without programs and an empty folder for compiled extensions, which stays empty."""
    extensions, nothing = tmp_path / "extensions", tmp_path / "nothing"
    extensions.mkdir()
    nothing.mkdir()
    done = program(tmp_path / "run", RUN, PATH=str(nothing), TORCH_EXTENSIONS_DIR=str(extensions))
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses(tmp_path / "run") == whole
    assert list(extensions.iterdir()) == []


def test_importing_the_configuration_loads_neither_deepspeed_nor_the_decoder(tmp_path: Path) -> None:
    code = "import sys, unitok.train.config, unitok.train.derive; print([m for m in ('deepspeed', "
    code += "'unitok.model.decoder', 'unitok.train.engine', 'torch.distributed') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TESTS.parent
    )
    assert "deepspeed" not in done.stdout
    assert "unitok" not in done.stdout
