"""Reading and writing picture files: every mode comes out as upright, opaque RGB; damage is one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

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
    with pytest.raises(ValueError, match="no PNG, JPEG, WebP, GIF, BMP or TIFF"):
        pictures.read_image(b"molecule, not picture")
    with pytest.raises(ValueError, match="no PNG, JPEG, WebP, GIF, BMP or TIFF"):
        pictures.read_image(b"")


@pytest.mark.parametrize("colour", [0, 1, 90])
def test_sixteen_bit_grey_that_is_nearly_black_stays_so(colour: int) -> None:
    data = saved(Image.fromarray(np.full((2, 2), colour, np.uint16)), "PNG")
    assert pictures.read_image(data).getpixel((0, 0)) == (0, 0, 0)


def test_whole_numbers_are_eight_or_sixteen_bits_and_floats_are_refused() -> None:
    def grey(value: float, dtype: type) -> Image.Image:
        return Image.fromarray(np.full((2, 2), value, dtype))

    assert pictures.to_rgb(grey(200, np.int32)).getpixel((0, 0)) == (200, 200, 200)
    assert pictures.to_rgb(grey(65_535, np.int32)).getpixel((0, 0)) == (255, 255, 255)
    for bad in (grey(-1, np.int32), grey(70_000, np.int32)):
        with pytest.raises(ValueError, match="grey picture with values from"):
            pictures.to_rgb(bad)
    with pytest.raises(ValueError, match="floats has no agreed white"):
        pictures.read_image(saved(grey(0.5, np.float32), "TIFF"))


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "La", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_becomes_the_same_colour(mode: str) -> None:
    white = Image.new("RGBA", (3, 2), "white")
    image = (
        white.convert("LA").convert("La") if mode == "La" else white.convert(mode if mode != "PA" else "P")
    )
    image = image.convert("PA") if mode == "PA" else image
    made = pictures.to_rgb(image)
    assert (made.mode, made.size) == ("RGB", (3, 2))
    assert np.abs(np.asarray(made).astype(int) - 255).max() <= 2


def test_a_colour_that_counts_as_transparent_lies_on_white() -> None:
    image = Image.fromarray(np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8))
    back = pictures.read_image(saved(image, "PNG", transparency=(10, 20, 30)))
    assert [back.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]
    grey = Image.fromarray(np.array([[514, 2570]], np.uint16))
    back = pictures.read_image(saved(grey, "PNG", transparency=514))
    assert [back.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 10, 10)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
    ],
)
def test_other_lossless_formats_are_read(drawn: Image.Image, kind: str, options: dict[str, str]) -> None:
    assert np.array_equal(np.asarray(pictures.read_image(saved(drawn, kind, **options))), np.asarray(drawn))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "MPO", "PNG"])
def test_of_several_frames_or_pages_the_first_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    back = pictures.read_image(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(np.array(back.getpixel((3, 3))) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_every_format_is_turned_upright_once(drawn: Image.Image, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = pictures.read_image(saved(drawn, kind, exif=exif))
    wanted = np.asarray(drawn.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(turned) - wanted).mean() < 4


def test_an_opened_file_is_the_picture_of_its_path(drawn: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn.save(tmp_path / "phone.png", exif=exif)
    by_path = pictures.to_tensor(tmp_path / "phone.png", 64)
    with Image.open(tmp_path / "phone.png") as opened:
        assert torch.equal(pictures.to_tensor(opened, 64), by_path)
        worked_on = opened.transpose(Image.Transpose.ROTATE_270)  # upright, though its EXIF says otherwise
    assert torch.equal(pictures.to_tensor(worked_on, 64), by_path)


def test_an_opened_file_that_is_damaged_is_no_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    data = bytearray(saved(Image.fromarray(noise), "PNG"))
    data[200] ^= 0xFF
    (tmp_path / "damaged.png").write_bytes(data)
    with (
        Image.open(tmp_path / "damaged.png") as opened,
        pytest.raises(ValueError, match="a damaged PNG picture.*replace the file"),
    ):
        pictures.to_tensor(opened, 64)


def test_a_picture_with_damaged_exif_is_read_as_it_lies(drawn: Image.Image) -> None:
    data = saved(drawn, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09 nonsense")
    assert pictures.read_image(data).size == drawn.size


SAVED = {
    "PNG": {}, "JPEG": {}, "WEBP": {}, "GIF": {}, "BMP": {}, "TIFF": {"compression": "tiff_lzw"},
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(SAVED)), st.booleans())
def test_no_damage_escapes_as_another_error(seed: int, kind: str, cut: bool) -> None:
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 255, (9, 7, 3), np.uint8))
    data = bytearray(saved(image, kind, **SAVED[kind]))
    for _ in range(4):
        data[random.integers(len(data))] = random.integers(256)
    words, mode = "", "RGB"
    try:
        mode = pictures.read_image(bytes(data[: random.integers(len(data))] if cut else data)).mode
    except ValueError as error:  # any other error fails this test
        words = str(error)
    assert mode == "RGB"
    assert "\n" not in words


def test_giant_pictures_are_refused_before_they_are_decoded() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (9_000, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        with pytest.raises(ValueError, match="pixels"):
            pictures.read_image(bomb)


def test_giant_pictures_of_other_formats_are_refused_too() -> None:
    bitmap = bytearray(saved(Image.new("RGB", (4, 4)), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 9_000, 9_000)
    gif = bytearray(saved(Image.new("P", (4, 4)), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    for data in (bitmap, gif):
        with pytest.raises(ValueError, match="pixels"):
            pictures.read_image(bytes(data))


def test_cover_is_the_resize_and_centre_crop_of_the_released_presets() -> None:
    """Shorter side to size, longer rounded down, offset rounded with halves to even."""
    steps = Image.fromarray(np.tile(np.arange(11, dtype=np.uint8)[:, None, None] * 20, (1, 4, 3)))  # 4 x 11
    made = np.asarray(pictures.fit(steps, 4))
    assert made[:, 0, 0].tolist() == [80, 100, 120, 140]  # offset (11 - 4) / 2 = 3.5 -> 4, nothing resampled
    made = np.asarray(pictures.fit(steps, 2))  # 2 x 5 (5.5 rounded down), offset (5 - 2) / 2 = 1.5 -> 2
    assert (
        made.tolist()
        == np.asarray(steps.resize((2, 5), Image.Resampling.BICUBIC).crop((0, 2, 2, 4))).tolist()
    )
    assert made[:, 0, 0].tolist() == [100, 145]


def test_bilinear_is_cover_with_the_other_filter() -> None:
    steps = Image.fromarray(np.tile(np.arange(11, dtype=np.uint8)[:, None, None] ** 2 * 2, (1, 4, 3)))
    wanted = steps.resize((2, 5), Image.Resampling.BILINEAR).crop((0, 2, 2, 4))
    assert pictures.fit(steps, 2, "bilinear").tobytes() == wanted.tobytes()
    assert pictures.fit(steps, 2, "bilinear").tobytes() != pictures.fit(steps, 2).tobytes()


def test_halve_averages_pictures_first_and_rounds_otherwise() -> None:
    steps = Image.fromarray(np.tile(np.arange(11, dtype=np.uint8)[:, None, None] * 20, (1, 4, 3)))
    assert np.asarray(pictures.fit(steps, 4, "halve"))[:, 0, 0].tolist() == [60, 80, 100, 120]  # 3.5 -> 3
    made = np.asarray(pictures.fit(steps, 2, "halve"))  # by areas to 2 x 5, then nothing to resample
    assert made.tolist() == np.asarray(steps.resize((2, 5), Image.Resampling.BOX).crop((0, 1, 2, 3))).tolist()


def test_square_squeezes_the_whole_picture() -> None:
    half = np.zeros((8, 4, 3), np.uint8)
    half[4:] = 200
    made = np.asarray(pictures.fit(Image.fromarray(half), 4, "square"))
    assert made.shape == (4, 4, 3)
    assert made[0].max() <= 1
    assert made[3].min() >= 199
    with pytest.raises(ValueError, match="not resized by 'stretch': use one of cover, bilinear, square"):
        pictures.fit(Image.fromarray(half), 4, "stretch")  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["cover", "bilinear", "square", "halve"])
def test_a_thread_of_a_picture_takes_no_giant_step(how: pictures.Resize) -> None:
    thread = Image.new("RGB", (1_000_000, 1), (9, 90, 200))
    assert pictures.fit(thread, 64, how).getcolors() == [(64 * 64, (9, 90, 200))]


def test_the_way_over_a_box_gives_nearly_the_same(
    drawn: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.asarray(pictures.fit(drawn, 31)).astype(int)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 31)
    assert np.abs(np.asarray(pictures.fit(drawn, 31)) - whole).max() <= 2


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
