"""The main recipe on a run of three steps: what it leaves behind, and what it refuses without harm."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from unitok.config import ConfigError, load
from unitok.run import reopen
from unitok.train.checkpoint import CheckpointError
from unitok.vocabulary import VocabularyMismatch

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "pretrain.py"
Pretrain = Callable[..., Path]
PANEL = '{title = "say it", source = "words", chat = 0, budget = 12, count = 2, score = 2}'


@pytest.fixture
def pretrain(tmp_path: Path) -> Pretrain:
    """Run the recipe with overrides; returns the folder of the run."""
    rows = [{"key": f"k{i}", "q": f"What is {i}?", "a": f"It is {i}."} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        run = "{tmp_path / "run"}"
        vocabulary.text.use = "text.bytes"
        model = {{ depth = 1, width = 32 }}
        train = {{ steps = 3, rows = 2, warmup = 0, progress = false }}
        [data]
        cache = "{tmp_path / "cache"}"
        seq_len = 64
        [data.sources.words]
        path = "rows.jsonl"
        heldout = 0.2
        fields = {{ q = "text", a = "text" }}
        chat = [{{ user = "{{q}}", assistant = "{{a}}" }}]
        """
    )
    main = runpy.run_path(str(RECIPE))["main"]

    def go(*overrides: str) -> Path:
        main([str(path), *overrides])
        return tmp_path / "run"

    return go


def test_a_run_leaves_a_model_and_what_made_it(pretrain: Pretrain) -> None:
    folder = pretrain("train.steps=2")
    run, decoder = reopen(folder)
    assert run.config.train.steps == 2
    assert decoder.config.vocab_size == len(run.vocabulary)
    events = [json.loads(line)["event"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert events.count("step") == 2
    assert (events.count("save"), events[-1]) == (1, "stop")


def test_a_finished_run_only_writes_its_report_again(
    pretrain: Pretrain, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pretrain()
    before = (folder / "model" / "model.safetensors").read_bytes()
    pretrain(f"report={{panel = [{PANEL}]}}")
    assert f"report: {folder / 'report.html'}" in capsys.readouterr().out
    assert "say it" in (folder / "report.html").read_text()
    assert (folder / "model" / "model.safetensors").read_bytes() == before


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 3])
def test_two_ranks_train_and_report(pretrain: Pretrain, tmp_path: Path, stage: int) -> None:
    launcher = Path(sys.executable).with_name("deepspeed")
    overrides = [f"deepspeed.zero_optimization.stage={stage}", f"report={{panel = [{PANEL}]}}"]
    command = [str(launcher), "--num_gpus", "2", str(RECIPE), str(tmp_path / "run.toml"), *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "say it" in page
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        (
            "vocabulary.molecule.use='molecule.selfies'",
            VocabularyMismatch,
            "was trained with vocabulary .*, this run has",
        ),
        ("model.depth=2", CheckpointError, r"step_00000003 does not fit this run"),
        ("data.seed=5", ValueError, "the saved data state is of plan .*, this run's plan is"),
    ],
)
def test_what_does_not_fit_a_folder_is_refused_and_the_folder_stays_usable(
    pretrain: Pretrain, override: str, error: type[Exception], message: str
) -> None:
    folder = pretrain()
    before = (folder / "config.toml").read_bytes(), (folder / "unitok.json").read_bytes()
    with pytest.raises(error, match=message):
        pretrain(override, "train.steps=5")
    assert ((folder / "config.toml").read_bytes(), (folder / "unitok.json").read_bytes()) == before
    reopen(folder)


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        ('{title = "t", source = "wrods"}', "asks for source 'wrods'.*did you mean 'words'"),
        ('{title = "t", source = "words", first = "imag"}', "names the block 'imag'"),
    ],
)
def test_a_panel_that_cannot_be_is_refused_before_training(
    pretrain: Pretrain, tmp_path: Path, panel: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pretrain(f"report.panel=[{panel}]")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "vocabulary.text.use='text.byte'",
            "vocabulary.text: no modality is called 'text.byte': did you mean",
        ),
        ("vocabulary.text.longest=3", "vocabulary.text: modality 'text.bytes' has no option 'longest'"),
        ("train.step=3", "unknown key 'train.step': did you mean 'steps'"),
        ("data.sources={}", "data.sources = {}"),
    ],
)
def test_a_wrong_configuration_says_where(pretrain: Pretrain, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrain(override)


def test_on_the_command_line_a_mistake_is_one_sentence() -> None:
    command = [sys.executable, str(RECIPE), "train.step=3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "unknown key 'train.step': did you mean 'steps'?" in done.stderr
    assert "Traceback" not in done.stderr


SCRIPTS = [path for folder in ("recipes", "tools") for path in sorted((ROOT / folder).glob("*.py"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_recipe_and_tool_explains_itself(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [script.name, "--help"])
    monkeypatch.setattr("sys.path", [str(script.parent), *sys.path])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert "usage: " in said
    assert len(said.splitlines()) > 5


def test_every_configuration_that_ships_is_valid() -> None:
    paths = sorted((ROOT / "recipes" / "configs").rglob("*.toml"))
    runs = [path for path in paths if "vocabulary" in tomllib.loads(path.read_text())]
    assert len(runs) >= 6
    for path in runs:
        assert load(path).vocabulary
