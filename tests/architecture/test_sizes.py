"""Small files, short functions, no modality named in the core."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("unitok", "modalities", "recipes", "tools")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
BLOCKS = {"image", "molecule", "pointcloud", "cloud", "audio"}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        n
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_over_400_lines_and_no_function_over_70(path):
    assert len(path.read_text().splitlines()) <= 400
    long = [f"{f.name}: {length(f)}" for f in functions(path) if length(f) > 70]
    assert not long


def test_the_median_file_and_function_are_small():
    assert statistics.median(len(p.read_text().splitlines()) for p in SOURCES) <= 170
    assert statistics.median(length(f) for p in SOURCES for f in functions(p)) <= 12


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes").glob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_recipes_are_thin(path):
    assert len(path.read_text().splitlines()) <= (49 if path.name == "pretrain.py" else 90)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "unitok").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_core_names_no_modality(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            named = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and c.value in BLOCKS]
            assert not named, f"line {node.lineno} compares with the modality {named}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "the module has no docstring"
