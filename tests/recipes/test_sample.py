from __future__ import annotations

import importlib.util
import runpy
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from toys import Filed
from untrained import leave_blocks

from unitok import create, register

RECIPE = Path(__file__).parents[2] / "recipes" / "sample.py"


@register("toy.greys")
class Greys(Filed):
    """Four greys, kept in files as four numbers."""

    suffixes = (".greys",)

    def show(self, item: Sequence[int]) -> Image.Image:
        return Image.new("L", (4, 4), item[0])


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, its weights random."""
    folder = tmp_path_factory.mktemp("run")
    blocks = {"text": ("text.bytes", create("text.bytes")), "image": ("toy.greys", Greys())}
    leave_blocks(folder, blocks, 64)
    return folder


def test_an_answer_streams_and_its_items_are_saved(
    recipe: ModuleType, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.greys").write_text("1 2 3 4")
    out = tmp_path / "out"
    prompt = f"Go on: {{image:{tmp_path / 'in.greys'}}}"
    recipe.main(
        [str(run), "--prompt", prompt, "--first", "image", "--guidance", "image=3", "text=1.5"]
        + ["--budget", "40", "--top-k", "20", "--out", str(out), "--seed", "5"]
    )
    said = capsys.readouterr().out
    assert said.startswith("[image ")
    saved = sorted(path.name for path in out.iterdir())
    assert saved[:2] == ["01-image.greys", "01-image.png"]
    assert str(out / "01-image.greys") in said
    assert len((out / "01-image.greys").read_text().split()) == 4


def test_what_is_forbidden_is_not_written(
    recipe: ModuleType, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.main(
        [str(run), "--prompt", "Hi.", "--forbid", "image", "--budget", "30", "--out", str(tmp_path / "x")]
    )
    assert "[image" not in capsys.readouterr().out
    assert not (tmp_path / "x").exists()


def test_errors_are_one_sentence_on_the_way_out(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["sample.py", *arguments])
        with pytest.raises(SystemExit, match="2"):
            runpy.run_path(str(RECIPE), run_name="__main__")
        return capsys.readouterr().err

    assert "no finished run" in fails(str(run / "nothing"), "--prompt", "a")
    assert "no block is called 'imag': did you mean 'image'?" in fails(str(run), "--prompt", "{imag:a.greys}")
    assert "{image:b.greys} cannot be read: No such file" in fails(str(run), "--prompt", "{image:b.greys}")
