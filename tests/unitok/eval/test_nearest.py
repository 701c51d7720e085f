"""The nearest picture is the one that looks most alike, whatever its size and brightness."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from unitok.eval.nearest import nearest


def drawn(where: int, light: int = 255, side: int = 64) -> Image.Image:
    picture = Image.new("RGB", (64, 64), (10, 10, 10))
    ImageDraw.Draw(picture).rectangle((where, 0, where + 15, 63), fill=(light, light, light))
    return picture.resize((side, side))


def test_the_nearest_picture():
    known = [drawn(0), drawn(20), drawn(45)]
    assert nearest(known, [drawn(44), drawn(1, light=120), drawn(21, side=100)]) == [2, 0, 1]


def test_nothing_known():
    with pytest.raises(ValueError, match="no training item"):
        nearest([], [drawn(0)])
