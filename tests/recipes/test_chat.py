"""The terminal's side of a conversation, on a run with random weights."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from toys import Filed
from untrained import leave_blocks

from unitok import create, register

RECIPE = Path(__file__).parents[2] / "recipes" / "chat.py"


@register("toy.dots")
class Dots(Filed):
    """Four numbers, kept in files as text; no picture of them."""

    suffixes = (".dots",)


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chat", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, its weights random."""
    folder = tmp_path_factory.mktemp("run")
    blocks = {"text": ("text.bytes", create("text.bytes")), "image": ("toy.dots", Dots())}
    leave_blocks(folder, blocks, 96)
    return folder


def said(recipe: ModuleType, run: Path, out: Path, *lines: str, more: tuple[str, ...] = ()) -> None:
    words = [word for line in lines for word in ("--say", line)]
    recipe.main([str(run), *words, "--budget", "30", "--out", str(out), *more])


def test_what_is_drawn_is_saved_and_stays_in_the_context(
    recipe: ModuleType, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.dots").write_text("1 2 3 4")
    talk = tmp_path / "talk.json"
    lines = (f"Go on: {{image:{tmp_path / 'in.dots'}}}", "/forbid image", "Why?", f"/save {talk}")
    said(
        recipe,
        run,
        tmp_path / "out",
        "/force image",
        lines[0],
        "/force",
        *lines[1:],
        more=("--system", "Hi."),
    )
    shown = capsys.readouterr().out
    assert "> Why?" in shown
    assert "[image " in shown
    first = next((tmp_path / "out").glob("01-image.dots"))
    turns = json.loads(talk.read_text())["turns"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert turns[1]["content"][1] == {"image": {"codes": [1, 2, 3, 4]}}
    drawn = turns[2]["content"][0]["image"]["codes"]
    assert " ".join(map(str, drawn)) == first.read_text()


def test_files_of_an_earlier_talk_stay(recipe: ModuleType, run: Path, tmp_path: Path) -> None:
    for _ in range(2):
        said(recipe, run, tmp_path, "/force image", "Draw.")
    assert {path.name[:2] for path in tmp_path.iterdir()} >= {"01", "02"}


def test_turns_that_no_longer_fit_are_told(
    recipe: ModuleType, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(recipe, run, tmp_path, *(["A question of some length?"] * 4))
    assert "(the oldest 2 turns no longer fit and were dropped)" in capsys.readouterr().out


def test_a_mistake_ends_a_script_and_not_a_talk(
    recipe: ModuleType,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="no command /draw"):
        said(recipe, run, tmp_path, "/draw")
    typed: Iterator[str] = iter(["/draw", "", "/help"])

    def ask(_: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", ask)
    recipe.main([str(run), "--out", str(tmp_path)])
    shown = capsys.readouterr()
    assert "error: there is no command /draw" in shown.err
    assert "/force BLOCK" in shown.out


def test_wrong_words_are_sentences_and_stray_bytes_end_nothing(
    recipe: ModuleType, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="guidance is written image=4.0, not 'image'"):
        recipe.main([str(run), "--guidance", "image"])
    with pytest.raises(ValueError, match="the model has 0: shorten"):
        recipe.main([str(run), "--limit", "0", "--say", "Hi."])
    typed: Iterator[str | Exception] = iter(
        [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "/help", EOFError()]
    )

    def read(prompt: str) -> str:
        found = next(typed)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr("builtins.input", read)
    recipe.main([str(run)])
    out, err = capsys.readouterr()
    assert "can't decode" in err
    assert "/force BLOCK" in out
