from __future__ import annotations

import sys

import pytest

from unitok.command import command
from unitok.config import ConfigError
from unitok.modality import BadItem
from unitok.registry import UnknownModality
from unitok.train.checkpoint import CheckpointError
from unitok.vocabulary import VocabularyMismatch

MISTAKES = [
    ConfigError("a.toml: unknown key 'trian': did you mean 'train'?"),
    UnknownModality("no modality is called 'x'"),
    VocabularyMismatch("two\nlines"),
    CheckpointError("no space"),
    BadItem(3, "empty"),
    FileNotFoundError(2, "No such file", "rows.jsonl"),
    ModuleNotFoundError("modality 'a' needs the package 'b'"),
]


@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
def test_a_mistake_is_one_line_and_status_2(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stopped:
        command(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"error: {' '.join(str(error).split())}\n"


def test_a_missing_package_names_its_extra(capsys, monkeypatch):
    def main():
        monkeypatch.setitem(sys.modules, "deepspeed", None)
        import deepspeed  # noqa: F401

    with pytest.raises(SystemExit, match="2"):
        command(main)
    assert capsys.readouterr().err.endswith(": pip install 'unitok-lm[train]'\n")


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("b"), AssertionError(), RuntimeError("c")])
def test_a_bug_keeps_its_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        command(main)


def test_a_variable_shows_the_traceback_of_mistakes_too(monkeypatch):
    def main():
        raise ConfigError("a")

    monkeypatch.setenv("UNITOK_TRACEBACK", "1")
    with pytest.raises(ConfigError):
        command(main)


def test_what_ends_well_ends_well(capsys):
    command(lambda: print("done"))
    assert capsys.readouterr().out == "done\n"


def test_ctrl_c_is_one_word(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        command(main)
    assert capsys.readouterr().err == "stopped\n"
