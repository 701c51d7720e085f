"""The import directions of the house, read from the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ("image", "molecule", "pointcloud", "text")

# part of unitok -> the parts of unitok it may import (itself always)
MAY = {
    "version": set(),
    "registry": {"modality"},
    "modality": {"budget"},
    "segment": {"modality"},
    "block": {"modality"},
    "stacking": {"modality", "block"},
    "vocabulary": {"modality", "segment", "block", "stacking"},
    "document": {"budget", "modality", "segment", "stacking", "vocabulary"},
    "phase": set(),
    "grammar": {"phase", "budget", "modality", "block", "vocabulary"},
    "testing": {"phase", "modality", "segment", "vocabulary", "document", "grammar"},
    "distributed": set(),
    "command": {"registry"},
    "strict": set(),
    "packed": set(),
    "budget": set(),
    "config": {"strict", "data", "eval", "model", "train"},
    "model": {"modality"},
    "data": {"budget", "modality", "segment", "stacking", "vocabulary", "document", "distributed", "packed"},
    "train": {"modality", "vocabulary", "distributed", "strict", "config", "model", "data"},
    "generate": {"phase", "modality", "segment", "block", "vocabulary", "document", "grammar", "model"},
    "eval": {
        "modality", "segment", "vocabulary", "document", "grammar", "distributed", "config", "version",
        "model", "data", "train", "generate", "packed",
    },
    "run": {
        "modality", "registry", "segment", "vocabulary", "document", "distributed", "config", "model", "data", "train",
        "eval", "generate", "version",
    },
}  # fmt: skip
NO_TORCH = (
    "registry.py",
    "strict.py",
    "packed.py",
    "config.py",
    "data/config.py",
    "eval/config.py",
    "model/config.py",
    "train/config.py",
)
HEAVY = (
    "rdkit",
    "open3d",
    "deepspeed",
    "transformers",
    "sentencepiece",
    "selfies",
    "PIL",
    "matplotlib",
    "pyarrow",
)


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path, only_at_run_time: bool = True) -> Iterator[str]:
    """Absolute names imported anywhere in the file; relative ones keep their dots. Type-checking blocks are left out."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if only_at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            if base == "unitok":
                yield from (f"unitok.{alias.name}" for alias in node.names)


def part(path: Path) -> str:
    relative = path.relative_to(ROOT / "unitok")
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources("unitok"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_keeps_its_directions(path):
    here = part(path)
    for name in imports(path):
        assert not name.startswith("."), f"{path}: the core imports by full name, not {name!r}"
        top, _, rest = name.partition(".")
        assert top not in ("modalities", "recipes", "tools", "tests"), f"{path} imports {name}"
        if top == "unitok" and rest and here != "__init__":
            other = rest.partition(".")[0]
            assert other == here or other in MAY[here], f"{path}: {here} may not import {other}"


@pytest.mark.parametrize("folder", ["unitok", "modalities", "recipes", "tools"])
def test_the_engine_alone_imports_deepspeed(folder):
    here = [path for path in sources(folder) if "deepspeed" in {i.partition(".")[0] for i in imports(path)}]
    assert here == ([ROOT / "unitok" / "train" / "engine.py"] if folder == "unitok" else [])


@pytest.mark.parametrize("name", NO_TORCH)
def test_the_registry_and_the_configuration_do_without_torch(name):
    assert "torch" not in {i.partition(".")[0] for i in imports(ROOT / "unitok" / name)}


@pytest.mark.parametrize("path", sources("modalities"), ids=lambda p: str(p.relative_to(ROOT)))
def test_plug_ins_import_the_contract_and_the_common_parts_only(path):
    relative = path.relative_to(ROOT / "modalities")
    here = relative.parts[0]
    depth = len(relative.parts)  # how many dots lead out of the plug-in's own folder
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top != "modalities", f"{path}: inside modalities/ imports are relative, not {name}"
        if name.startswith("." * depth) and here != "__init__.py":
            other = name.lstrip(".").partition(".")[0]
            assert other in ("common", here, ""), f"{path}: {here} may not import the plug-in {other!r}"
        if top == "unitok" and rest:
            allowed = ("budget", "modality", "packed", "registry", "strict", "testing", "train")
            assert rest.partition(".")[0] in allowed, (
                f"{path}: plug-ins see only {', '.join(allowed)} of the core"
            )


def test_importing_unitok_is_light():
    code = f"import sys, unitok; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listing_the_modalities_imports_none_of_their_packages():
    code = f"import sys, unitok; unitok.names(); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
