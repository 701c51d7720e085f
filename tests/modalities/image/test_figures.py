"""Grids, contact sheets and rate-distortion curves."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from modalities.image.figures import contact_sheet, grid, rate_distortion

RED, BLUE = (255, 0, 0), (0, 0, 255)


def plain(colour, size=(20, 20)):
    return Image.new("RGB", size, colour)


def share(sheet, colour):
    """How many pixels have this colour."""
    return int((np.asarray(sheet) == colour).all(-1).sum())


def test_a_grid_holds_every_picture_once_in_its_place():
    sheet = grid([[plain(RED), plain(BLUE)], [plain(BLUE)]])
    assert sheet.size == (8 + 2 * 28, 8 + 2 * 28)
    assert share(sheet, RED) == 400
    assert share(sheet, BLUE) == 800
    assert sheet.getpixel((10, 10)) == RED
    assert sheet.getpixel((40, 10)) == BLUE
    assert sheet.getpixel((10, 40)) == BLUE
    assert sheet.getpixel((40, 40)) == (255, 255, 255)


def test_labels_and_titles_take_room_and_ink_and_hide_no_picture():
    bare = grid([[plain(RED)]])
    sheet = grid([[plain(RED)]], labels=["32 tokens"], titles=["original"], cell=60)
    assert sheet.width > bare.width + 40
    assert share(sheet, RED) == 3600
    left, above = sheet.crop((0, 30, 40, sheet.height)), sheet.crop((40, 0, sheet.width, 24))
    for part in (left, above):
        assert np.asarray(part.convert("L")).min() < 100


def test_pictures_keep_their_shape_and_small_ones_their_pixels():
    sheet = grid([[plain(RED, (40, 20)), plain(BLUE, (2, 2))]], cell=40)
    assert share(sheet, RED) == 800
    assert share(sheet, BLUE) == 1600


def test_a_contact_sheet_labels_each_picture():
    sheet = contact_sheet(
        [plain(RED)] * 5, ["one", "two", "three", "a long label " * 20, ""], columns=3, cell=64
    )
    assert share(sheet, RED) == 5 * 64 * 64
    assert sheet.width == 8 + 3 * 72
    ink = np.asarray(sheet.convert("L")) < 70
    ink &= (np.asarray(sheet) != RED).any(-1)
    top = slice(8 + 64, 8 + 64 + 16)
    assert all(ink[top, 8 + 72 * column : 72 * (column + 1)].any() for column in range(3))
    assert not ink[:, -7:].any()  # long labels stay inside
    assert contact_sheet([plain(RED)] * 5).width == 8 + 3 * 136


def test_bad_sheets_are_refused():
    with pytest.raises(ValueError, match="no pictures"):
        grid([[], []])
    with pytest.raises(ValueError, match="2 pictures with 1 labels"):
        contact_sheet([plain(RED)] * 2, ["one"])
    with pytest.raises(ValueError, match="0 pictures"):
        contact_sheet([])
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="without points"):
        rate_distortion({"none": []})


def test_rate_distortion_is_a_picture_that_does_not_change():
    pytest.importorskip("matplotlib")
    systems = {"image.titok": [(512.0, 21.0), (256.0, 19.0)], "image.gigatok": [(448.0, 22.0)], "none": []}
    data = rate_distortion(systems)
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    assert image.width > 600
    assert data == rate_distortion(systems)
    pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (np.abs(pixels - (31, 119, 180)).sum(-1) < 30).sum() > 500  # the first curve
    assert (np.abs(pixels - (255, 127, 14)).sum(-1) < 30).sum() > 30  # the point of the second
    assert (np.abs(pixels - (44, 160, 44)).sum(-1) < 30).sum() == 0  # nothing of a system without points
