"""What a fresh clone must hold: pinned packages, small weights, and nothing from outside the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = ("unitok", "modalities", "recipes", "tools", "docs")


def package(requirement: str) -> str:
    """The bare name of a requirement or a pin: "torch>=2.13" -> "torch"."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return match.group().lower().replace("_", "-").replace(".", "-")


def test_every_dependency_is_pinned() -> None:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pins = {package(line) for line in lines if line and "==" in line}
    extras = (one for extra in PROJECT["optional-dependencies"].values() for one in extra)
    wanted = {package(one) for one in (*PROJECT["dependencies"], *extras)} - {"unitok-lm"}
    assert wanted <= pins, f"constraints.txt pins no {sorted(wanted - pins)}"


def test_every_extra_that_is_named_exists() -> None:
    from unitok.registry import EXTRAS

    known = set(PROJECT["optional-dependencies"])
    assert set(EXTRAS.values()) <= known
    assert {"train", "text", "image", "molecule", "pointcloud", "dev", "all"} <= known
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            named = re.findall(r"unitok-lm\[(\w+)\]", path.read_text())
            assert set(named) <= known, path


def test_the_weights_that_ship_are_under_8_megabytes_and_say_what_made_them() -> None:
    files = [path for path in (ROOT / "modalities").glob("*/weights/*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8_000_000
    for path in files:
        if path.suffix == ".safetensors":
            assert path.with_suffix(".json").is_file(), f"{path} has no .json that tells how it was made"


def test_nothing_depends_on_what_lies_outside() -> None:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".toml", ".md", ".json"):
                text = path.read_text()
                for word in ("../shared", "/work/", "/root/", "/home/"):
                    assert word not in text, f"{path} names {word}"
