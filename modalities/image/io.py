"""Picture files and tensors: bytes -> RGB PIL image -> float tensor [3, S, S] in [0, 1], and back.

What is read comes out upright (EXIF), opaque (alpha lies on white), 8-bit RGB, the first frame if there
are several. Damaged or giant files are a ValueError of one sentence.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
MAX_PIXELS = 64_000_000
Resize = Literal["cover", "square"]
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error, OverflowError)


def read_image(data: bytes) -> Image.Image:
    """Decode a PNG, JPEG or WebP file.

    Raises:
        ValueError: not such a file, damaged, or over `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
    except Image.DecompressionBombError as error:
        raise ValueError(f"a picture of far too many pixels ({error}): make it smaller") from error
    except _DAMAGE as error:
        raise ValueError(
            f"{len(data)} bytes that are no PNG, JPEG or WebP picture: convert the file"
        ) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"a picture of {width} x {height} pixels: at most {MAX_PIXELS:,} are read, make it smaller"
        )
    try:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))
    except _DAMAGE as error:
        raise ValueError(f"a damaged {image.format} picture ({error}): replace the file") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL image as opaque 8-bit RGB; transparent parts become white."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        grey = np.asarray(image).astype(np.float64)
        image = Image.fromarray((grey / (257 if grey.max(initial=0) > 255 else 1)).round().astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def write_image(image: Image.Image, suffix: str) -> bytes:
    """Encode for a file of this suffix; PNG and WebP keep every pixel, JPEG (quality 95) does not.

    Raises:
        ValueError: another suffix.
    """
    if suffix not in FORMATS:
        raise ValueError(f"pictures are not written as {suffix!r}: use one of {', '.join(SUFFIXES)}")
    options: dict[str, Any] = {".png": {}, ".webp": {"lossless": True}}.get(suffix, {"quality": 95})
    buffer = io.BytesIO()
    to_rgb(image).save(buffer, FORMATS[suffix], **options)
    return buffer.getvalue()


def fit(image: Image.Image, size: int, how: Resize = "cover") -> Image.Image:
    """A picture as size x size: "cover" takes its middle square, "square" squeezes the whole; bicubic."""
    if how == "square":
        return to_rgb(image).resize((size, size), Image.Resampling.BICUBIC)
    return ImageOps.fit(to_rgb(image), (size, size), Image.Resampling.BICUBIC)


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
    if 0 in item.size:
        raise ValueError(f"a picture of {item.size[0]} x {item.size[1]} pixels is empty")
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
