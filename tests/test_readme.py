"""The code of the README and of the docs runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text()) if kind == language]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run_one_after_another(page):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks(page, "python"))], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_the_first_example_prints_the_round_trip():
    done = subprocess.run(
        [sys.executable, "-c", blocks(PAGES[0], "python")[0]], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["text 7 Caffeine: ", "molecule 24 Cn1c(=O)c2c(ncn2C)n(C)c1=O"]


def test_adding_a_modality_takes_less_than_40_lines():
    assert len(blocks(PAGES[0], "python")[1].strip().splitlines()) < 40


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_toml_blocks_are_toml_and_links_lead_somewhere(page):
    for body in blocks(page, "toml"):
        tomllib.loads(body)
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_name_files_that_exist(page):
    for script in re.findall(r"(?<![\w/])((?:recipes|tools)/[\w/]+\.(?:py|toml))", page.read_text()):
        assert (ROOT / script).exists(), f"{page.name} names {script}, which is not there"


def test_the_readme_names_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)$", PAGES[0].read_text(), re.MULTILINE)) <= targets
