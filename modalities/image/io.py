"""Picture files and tensors: bytes -> RGB PIL image -> float tensor [3, S, S] in [0, 1], and back.

Read are PNG, JPEG (a phone's multi-picture files too), WebP, GIF, BMP and TIFF; written are PNG, JPEG and WebP.
What is read comes out upright (EXIF), opaque (alpha lies on white), 8-bit RGB, the first frame or page if there
are several. Colour profiles are not applied, as in the pipelines that the released tokenizers were trained
with. Files that are damaged, cut short or giant are a ValueError of one sentence; the number of pixels is looked
at before any of them is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageFile, ImageOps
from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""What is written."""
MAX_PIXELS = 64_000_000
Resize = Literal["cover", "bilinear", "square", "halve"]
"""How a picture of any shape becomes a square; see `fit`."""
_READ = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, struct.error, zlib.error,
)  # fmt: skip
"""What the readers of Pillow raise at files that are not as they should be."""


def read_image(data: bytes) -> Image.Image:
    """Decode a picture file.

    Raises:
        ValueError: not a PNG, JPEG, WebP, GIF, BMP or TIFF file, damaged, without an agreed white, or over
            `MAX_PIXELS`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is either mended or an error below
        try:
            image = Image.open(io.BytesIO(data), formats=_READ)
        except Image.DecompressionBombError as error:
            raise ValueError(f"a picture of far too many pixels ({error}): make it smaller") from error
        except _DAMAGE as error:
            raise ValueError(
                f"{len(data)} bytes that are no PNG, JPEG, WebP, GIF, BMP or TIFF picture: convert the file"
            ) from error
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"a picture of {width} x {height} pixels: at most {MAX_PIXELS:,} are read, make it smaller"
            )
        return to_rgb(image)


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation shows it; where that is damaged, as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL image as opaque 8-bit RGB; transparent parts become white.

    One that comes straight from a file (`PIL.Image.open`) is turned as its EXIF says, so that a picture is the same by
    its path; what has been worked on since is taken as it lies.

    Raises:
        ValueError: a damaged file, or a mode without an agreed white: floats, or whole numbers outside 16 bits.
    """
    if isinstance(image, ImageFile.ImageFile):
        try:
            image.load()  # a second try may give half a picture without a word, so it comes before all else
        except _DAMAGE as error:
            raise ValueError(f"a damaged {image.format} picture ({error}): replace the file") from error
        image = _upright(image)
    keyed = image.info.get("transparency")  # of a palette, or one colour that counts as transparent
    if image.mode == "RGB" and keyed is None:
        return image
    if image.mode == "F":
        raise ValueError("a picture of floats has no agreed white: save it with 8 or 16 bits a colour")
    if image.mode.startswith("I"):  # convert() would clip at 255
        grey = np.asarray(image)
        image = Image.fromarray(np.where(grey == keyed, 255, _eight_bits(grey, image.mode)).astype(np.uint8))
    elif image.mode.endswith(("A", "a")) or keyed is not None:
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(grey: np.ndarray[Any, Any], mode: str) -> np.ndarray[Any, Any]:
    """Grey of 16 bits as 8 bits; mode "I" holds either and is told by its largest value."""
    low, high = int(grey.min(initial=0)), int(grey.max(initial=0))
    if low < 0 or high > 65_535:
        raise ValueError(f"a grey picture with values from {low} to {high}: save it with 8 or 16 bits")
    scale = 1 if mode == "I" and high <= 255 else 257
    return (grey.astype(np.float64) / scale).round().astype(np.uint8)


def write_image(image: Image.Image, suffix: str) -> bytes:
    """Encode for a file of this suffix; PNG and WebP keep every pixel, JPEG (quality 95) does not.

    Raises:
        ValueError: another suffix.
    """
    if suffix not in FORMATS:
        raise ValueError(f"pictures are not written as {suffix!r}: use one of {', '.join(FORMATS)}")
    options: dict[str, Any] = {".png": {}, ".webp": {"lossless": True}}.get(suffix, {"quality": 95})
    buffer = io.BytesIO()
    to_rgb(image).save(buffer, FORMATS[suffix], **options)
    return buffer.getvalue()


def fit(image: Image.Image, size: int, how: Resize = "cover") -> Image.Image:
    """A picture of any shape as size x size RGB, by resampling (bicubic, mostly) that averages what it shrinks.

    Args:
        image: any PIL image.
        size: side in pixels.
        how: "cover": the shorter side becomes `size`, the longer one is rounded down, and the middle is cut out
            (its offset rounded, halves to even), pixel for pixel what torchvision's `Resize(size)` and
            `CenterCrop(size)` give; "bilinear": the same by bilinear resampling, torchvision's default; "square":
            the whole picture, squeezed; "halve": as ADM prepares pictures, halved by averages as long as it stays
            at least `size`, then as "cover" with the longer side rounded to the nearest and the offset rounded down.

    Raises:
        ValueError: another `how`, or a picture without pixels.
    """
    if how not in get_args(Resize):
        raise ValueError(f"pictures are not resized by {how!r}: use one of {', '.join(get_args(Resize))}")
    if 0 in image.size:
        raise ValueError(f"a picture of {image.size[0]} x {image.size[1]} pixels is empty")
    image = to_rgb(image)
    sampling = Image.Resampling.BILINEAR if how == "bilinear" else Image.Resampling.BICUBIC
    if how == "square":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    if how == "halve":
        while min(image.size) >= 2 * size:
            image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    shorter = min(image.size)
    if how == "halve":
        width, height = (round(side * (size / shorter)) for side in image.size)
        left, top = (width - size) // 2, (height - size) // 2
    else:
        width, height = (int(size * side / shorter) for side in image.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
    if width * height > MAX_PIXELS:  # a thread of a picture: never hold all of it
        x, y = image.width / width, image.height / height  # source pixels in one of ours
        box = (left * x, top * y, (left + size) * x, (top + size) * y)
        return image.resize((size, size), sampling, box=box)
    image = image.resize((width, height), sampling)
    return image.crop((left, top, left + size, top + size))


def to_tensor(item: Image.Image | Tensor | str | Path, size: int, how: Resize = "cover") -> Tensor:
    """A PIL image, a path or a float tensor [3, H, W] in [0, 1] as float32 [3, size, size].

    Raises:
        TypeError: another kind of item.
        ValueError: an empty picture, a tensor of another shape or with values outside [0, 1].
    """
    if isinstance(item, str | Path):
        item = read_image(Path(item).read_bytes())
    if isinstance(item, Tensor):
        item = _checked(item)
        if item.shape[1:] == (size, size):
            return item.float().contiguous()
        item = to_image(item)
    if not isinstance(item, Image.Image):
        raise TypeError(f"a picture is a PIL image, a path or a tensor [3, H, W], not {type(item).__name__}")
    pixels = torch.from_numpy(np.array(fit(item, size, how)))
    return rearrange(pixels, "h w c -> c h w").float().div(255).contiguous()


def _checked(tensor: Tensor) -> Tensor:
    if tensor.dim() != 3 or tensor.shape[0] != 3 or 0 in tensor.shape or not tensor.is_floating_point():
        raise ValueError(f"a picture tensor is float [3, H, W], not {tensor.dtype} {list(tensor.shape)}")
    lo, hi = (float(value) for value in tensor.aminmax())
    if not (lo >= 0 and hi <= 1):  # also catches NaN
        raise ValueError(f"a picture tensor has values from {lo:.3g} to {hi:.3g}: scale them to [0, 1]")
    return tensor


def to_image(tensor: Tensor) -> Image.Image:
    """Float tensor [3, H, W], clamped to [0, 1], as a PIL image."""
    pixels = rearrange(tensor.detach().float().clamp(0, 1), "c h w -> h w c")
    return Image.fromarray((pixels * 255).round().to(torch.uint8).cpu().numpy())
