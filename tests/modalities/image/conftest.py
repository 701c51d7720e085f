"""Pictures for the tests of `modalities.image`: real ones of the demo, and a drawn one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from modalities.image.io import read_image

DEMO = Path(__file__).parents[3] / "recipes" / "demo" / "images"


@pytest.fixture(scope="session")
def drawn() -> Image.Image:
    """A disc on white, 100 x 80."""
    image = Image.new("RGB", (100, 80), "white")
    ImageDraw.Draw(image).ellipse((20, 10, 70, 60), fill=(250, 190, 40), outline=(90, 50, 10), width=3)
    return image


@pytest.fixture(scope="session")
def emoji() -> list[Image.Image]:
    """Three pictures of the demo that the tokenizer was not trained on."""
    files = [DEMO / f"{key}.webp" for key in ("1f605", "1f42d", "2615")]
    return [read_image(file.read_bytes()) for file in files]
