"""Several ranks through the real launcher: slow, and only a few."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unitok.train import metrics

TESTS = Path(__file__).parents[2]
ROOT = TESTS.parent
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    "OMP_NUM_THREADS": "1",
}
WAYS = [(stage, accumulation) for stage in range(4) for accumulation in (1, 2)]
pytestmark = [pytest.mark.dist, pytest.mark.slow]


def run(*command: str) -> None:
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


def launch(ranks: int, folder: Path, *arguments: str) -> None:
    program = (str(TESTS / "train_toys.py"), str(folder), *arguments)
    if ranks == 1:
        run(sys.executable, *program)
    else:
        port = str(29_600 + os.getpid() % 1000)
        run("deepspeed", "--num_gpus", str(ranks), "--master_port", port, *program)


def losses(folder: Path) -> list[dict[str, Any]]:
    return [r for r in metrics.read(folder) if r["event"] == "step"]


def column(folder: Path, name: str) -> list[float]:
    return [r[name] for r in losses(folder)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps on one rank, all rows at once, under ZeRO 0; and on two ranks in every other way."""
    folder = tmp_path_factory.mktemp("runs")
    launch(1, folder / "alone", "stage=0", "steps=6")
    arguments = []
    for stage, accumulation in WAYS:
        way = (f"stage={stage}", "steps=6", f"micro_rows={2 // accumulation}")
        arguments += ["+", str(folder / f"{stage}-{accumulation}"), *way]
    launch(2, Path(arguments[1]), *arguments[2:])
    return folder


@pytest.mark.parametrize(("stage", "accumulation"), WAYS)
def test_two_ranks_equal_one(stage: int, accumulation: int, runs: Path) -> None:
    alone, pair = runs / "alone", runs / f"{stage}-{accumulation}"
    assert column(pair, "loss") == pytest.approx(column(alone, "loss"), rel=1e-5)
    assert column(pair, "grad_norm") == pytest.approx(column(alone, "grad_norm"), rel=1e-5)
    assert (pair / "stream.jsonl").read_text() == (alone / "stream.jsonl").read_text()


@pytest.mark.parametrize("stage", [2, 3])
def test_two_ranks_then_one_then_two_see_the_same_tokens(stage: int, runs: Path, tmp_path: Path) -> None:
    """SIGTERM at steps 2 and 4, converted in between: the same rows, and the losses of an unbroken run."""
    alone, arguments = runs / "alone", (f"stage={stage}", "steps=6")
    convert = (sys.executable, str(ROOT / "tools" / "to_universal.py"), str(tmp_path))
    launch(2, tmp_path, *arguments, "term=2")
    run(*convert)
    launch(1, tmp_path, *arguments, "term=4")
    run(*convert)
    launch(2, tmp_path, *arguments)
    assert (tmp_path / "stream.jsonl").read_text() == (alone / "stream.jsonl").read_text()
    assert column(tmp_path, "loss") == pytest.approx(column(alone, "loss"), rel=1e-5)
    assert column(tmp_path, "grad_norm") == pytest.approx(column(alone, "grad_norm"), rel=1e-5)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_ranks_without_a_stacked_position_keep_step_with_those_that_have_them(
    accumulation: int, tmp_path: Path
) -> None:
    """Under ZeRO 3 a module that ran on one rank alone would hang; under 2, gradients would lack a part."""
    launch(1, tmp_path / "alone", "stage=0", "steps=4", "stacked=true")
    way = ("steps=4", "stacked=true", f"micro_rows={2 // accumulation}")
    launch(2, tmp_path / "3", "stage=3", *way, "+", str(tmp_path / "2"), "stage=2", *way)
    for stage in "23":
        assert column(tmp_path / stage, "loss") == pytest.approx(column(tmp_path / "alone", "loss"), rel=1e-5)
        norms = column(tmp_path / "alone", "grad_norm")
        assert column(tmp_path / stage, "grad_norm") == pytest.approx(norms, rel=1e-5)
