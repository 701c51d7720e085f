"""Real data that does not ship: tests that want it skip where it is not beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


def held(kind: str, name: str) -> Path:
    """A file of held data; the test is skipped where there is none."""
    path = DATA / kind / name
    if not path.exists():
        pytest.skip(f"{kind}/{name} is not beside this checkout")
    return path


def text(kind: str, name: str) -> str:
    """The text of a held .zst file."""
    import zstandard

    data = held(kind, name).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data).decode()
