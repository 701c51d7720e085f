"""What every modality of pictures shares: files, views, variants, and how alike two pictures are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unitok.modality import BadItem, Item, Modality

from . import io


class PictureModality(Modality):
    """A modality whose items are pictures: PIL images, paths or float tensors [3, H, W] in [0, 1].

    `config` says at which `size` and by which `resize` (see `io.fit`) it looks at them.
    """

    config: Any
    suffixes = io.SUFFIXES

    def read(self, data: bytes, suffix: str) -> Item:
        """A picture file's bytes as an RGB PIL image; see `modalities.image.io`."""
        return io.read_image(data)

    def write(self, item: Item, suffix: str) -> bytes:
        """The picture as a file; .png and .webp keep every pixel."""
        return io.write_image(self._picture(item), suffix)

    def show(self, item: Item) -> Image.Image:
        """The picture as the tokenizer sees it."""
        return io.fit(self._picture(item), self.config.size, self.config.resize)

    def compare(self, a: Item, b: Item) -> dict[str, float]:
        """`psnr` in dB at the tokenizer's size (inf for equal pictures) and `mae`, mean absolute error in [0, 1]."""
        one, two = (io.to_tensor(item, self.config.size, self.config.resize) for item in (a, b))
        mse = float((one - two).square().mean())
        psnr = -10 * math.log10(mse) if mse > 0 else math.inf
        return {"psnr": psnr, "mae": float((one - two).abs().mean())}

    def variants(self, item: Item, count: int) -> list[Item]:
        """The picture, its mirror image, then small crops of the two, always the same ones."""
        picture = self._picture(item)
        both = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
        generator = torch.Generator().manual_seed(0)
        found = both[:count]
        while len(found) < count:
            left, top, right, bottom = (0.06 * torch.rand(4, generator=generator)).tolist()
            width, height = picture.size
            box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
            found.append(both[len(found) % 2].crop(tuple(round(edge) for edge in box)))
        return found

    def label(self, item: Item) -> str:
        """Such as "picture of 64 x 64 pixels"."""
        width, height = self._picture(item).size
        return f"picture of {width} x {height} pixels"

    def _picture(self, item: Item) -> Image.Image:
        if isinstance(item, Image.Image):
            return io.to_rgb(item)
        if isinstance(item, Tensor):
            return io.to_image(item)
        return io.read_image(Path(item).read_bytes())

    def _tensor(self, index: int, item: Item) -> Tensor:
        try:
            return io.to_tensor(item, self.config.size, self.config.resize)
        except (TypeError, ValueError, OSError) as error:
            raise BadItem(index, str(error)) from error
