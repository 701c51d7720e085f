"""Reading and writing picture files: every mode comes out as upright, opaque RGB; damage is one sentence."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modalities.image import io as pictures


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_lossless_files_come_back_as_they_were(drawn: Image.Image, suffix: str) -> None:
    back = pictures.read_image(pictures.write_image(drawn, suffix))
    assert back.mode == "RGB"
    assert np.array_equal(np.asarray(back), np.asarray(drawn))


def test_jpeg_comes_back_nearly(drawn: Image.Image) -> None:
    back = pictures.read_image(pictures.write_image(drawn, ".jpg"))
    assert np.abs(np.asarray(back).astype(int) - np.asarray(drawn)).mean() < 4


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert pictures.read_image(saved(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert pictures.read_image(saved(half, "PNG")).getpixel((0, 0)) == (127, 127, 127)


def test_palette_with_a_transparent_entry_lies_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    back = pictures.read_image(saved(image, "PNG", transparency=0))
    assert [back.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((2, 2), 257 * 100, np.uint16))
    assert pictures.read_image(saved(image, "PNG")).getpixel((0, 0)) == (100, 100, 100)


def test_cmyk_and_exif_rotation(drawn: Image.Image) -> None:
    assert pictures.read_image(saved(drawn.convert("CMYK"), "JPEG")).mode == "RGB"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    turned = pictures.read_image(saved(drawn, "JPEG", exif=exif))
    assert turned.size == (80, 100)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert pictures.read_image(data).getpixel((0, 0)) == (255, 0, 0)


def test_damaged_files_are_one_sentence(drawn: Image.Image) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        whole = pictures.write_image(drawn, suffix)
        with pytest.raises(ValueError, match="picture") as caught:
            pictures.read_image(whole[: len(whole) // 2])
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no PNG, JPEG or WebP"):
        pictures.read_image(b"molecule, not picture")
    with pytest.raises(ValueError, match="no PNG, JPEG or WebP"):
        pictures.read_image(b"")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([".png", ".jpg", ".webp"]))
def test_no_damage_escapes_as_another_error(seed: int, suffix: str) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(
        pictures.write_image(Image.fromarray(random.integers(0, 255, (9, 7, 3), np.uint8)), suffix)
    )
    for _ in range(4):
        data[random.integers(len(data))] = random.integers(256)
    try:
        mode = pictures.read_image(bytes(data)).mode
    except ValueError:
        return  # any other error fails this test
    assert mode == "RGB"


def test_giant_pictures_are_refused_before_they_are_decoded() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (9_000, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        with pytest.raises(ValueError, match="pixels"):
            pictures.read_image(bomb)


def test_to_tensor_takes_the_middle_square(drawn: Image.Image) -> None:
    tensor = pictures.to_tensor(drawn, 64)
    assert tensor.shape == (3, 64, 64)
    assert tensor.dtype == torch.float32
    assert 0 <= float(tensor.min()) <= float(tensor.max()) <= 1
    assert torch.equal(pictures.to_tensor(pictures.to_image(tensor), 64), tensor)  # eight bits survive


def test_to_tensor_of_one_pixel_and_of_a_path(tmp_path: object, drawn: Image.Image) -> None:
    assert pictures.to_tensor(Image.new("RGB", (1, 1), "red"), 8)[0].min() == 1
    file = tmp_path / "x.png"  # type: ignore[operator]
    file.write_bytes(pictures.write_image(drawn, ".png"))
    assert torch.equal(pictures.to_tensor(file, 64), pictures.to_tensor(drawn, 64))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (torch.zeros(4, 8, 8), r"\[3, H, W\]"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "float"),
        (torch.full((3, 8, 8), 2.0), r"\[0, 1\]"),
        (torch.full((3, 8, 8), torch.nan), r"\[0, 1\]"),
    ],
)
def test_bad_tensors_are_refused(item: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pictures.to_tensor(item, 8)


def test_unknown_suffixes_are_refused(drawn: Image.Image) -> None:
    with pytest.raises(ValueError, match="'.tiff'"):
        pictures.write_image(drawn, ".tiff")
