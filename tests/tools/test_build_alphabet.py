"""tools/build_alphabet.py: the closure rules, and (slowly) the whole alphabet again."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import selfies

from modalities.molecule.symbols import ALPHABET, read_alphabet

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    pytest.importorskip("chemicals", reason="the package `chemicals` is not installed")
    spec = importlib.util.spec_from_file_location("build_alphabet", ROOT / "tools" / "build_alphabet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mirror_images(tool) -> None:
    assert tool.mirror("[/C@H1]") == "[\\C@@H1]"
    assert tool.mirror("[\\/Ring1]") == "[/\\Ring1]"
    assert tool.mirror("[=C]") == "[=C]"


def test_the_closure_leaves_selfies_as_it_was_and_orders_the_ids(tool) -> None:
    symbols = tool.closed({"[Na+1]", "[/C@H1]", "."})
    assert selfies.get_semantic_constraints() == selfies.get_preset_constraints("default")
    assert {"[Na+1]", "[\\C@@H1]", "[/C@@H1]", "[\\C@H1]", "[=I]", "[-/Ring2]", "[#Branch3]"} <= set(symbols)
    assert symbols[-1] == "."
    assert set(symbols) - {"[Na+1]"} <= set(read_alphabet(ALPHABET))


@pytest.mark.slow
def test_the_shipped_alphabet_is_reproduced(tool) -> None:
    seen = tool.common(tool.TABLE)
    assert len(seen) == 333
    assert tuple(tool.closed(seen)) == read_alphabet(ALPHABET)
