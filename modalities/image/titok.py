"""`image.titok`: a picture as 32 codes, by a small TiTok (see `modalities.image.network`).

Items are PIL images, paths or float tensors [3, H, W] in [0, 1]; they are cut to their middle square and
resized. Codes: int64 [tokens], with the binary quantizer of over 8 bits int64 [tokens, parts]. Decoding
gives PIL images. The weights that ship were trained on emoji: what else goes in comes out coarsely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unitok.modality import BadCodes, BadItem, Codes, Item, Modality, Spec

from ..common.pretrained import CHUNK, encode_alike, network
from ..common.training import TokenizerTask
from ..common.weights import fingerprint
from . import io
from .network import TiTokConfig, TiTokNet

SHIPPED = Path(__file__).parent / "weights"
DEFAULT = "emoji64"
CLOSE = 3e-5
"""A position with less margin is decided again by the picture alone: sums differ (by up to 1e-6 here)
with the size of a batch, and the codes of a picture must not depend on its company."""


class TiTok(Modality):
    """Pictures through a small TiTok.

    Args:
        weights: name of shipped weights ("emoji64"), path of a .safetensors file, or None for a network
            with random weights (drawn from `seed`), which `options` then shape.
        name: block name in the vocabulary.
        seed: of random weights.
        options: fields of `TiTokConfig`, for weights=None alone.

    Raises:
        FileNotFoundError: no such weights; what ships is named.
        WeightsMismatch: the file fits another network.
    """

    suffixes = io.SUFFIXES

    def __init__(
        self, weights: str | Path | None = DEFAULT, *, name: str = "image", seed: int = 0, **options: Any
    ) -> None:
        self.config, self.net = network(
            weights,
            options,
            seed,
            tokenizer="image.titok",
            shipped=SHIPPED,
            config=TiTokConfig,
            build=TiTokNet,
        )
        quantizer = self.net.quantizer
        self.spec = Spec(
            name=name,
            size=quantizer.size,
            length=(self.config.tokens, self.config.tokens),
            fingerprint=fingerprint(
                {"tokenizer": "image.titok", **self.config.model_dump(mode="json")}, self.net
            ),
            parts=quantizer.parts,
        )

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Pictures to codes [tokens]; the same alone or in a batch.

        Raises:
            BadItem: not a picture, empty, or a tensor outside [0, 1].
        """
        pictures = [self._tensor(i, item) for i, item in enumerate(items)]
        ids = encode_alike(pictures, self.latents, self.net.quantizer, CLOSE)
        return [Codes(each.clone()) for each in ids]

    def latents(self, pictures: Tensor) -> Tensor:
        """Latents [B, K, D] before the quantizer, of pictures [B, 3, S, S]."""
        with torch.no_grad():
            return self.net.encode(pictures)

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Codes to PIL images of the tokenizer's size.

        Raises:
            BadCodes: codes out of range or of another number than `tokens`.
        """
        return [io.to_image(picture) for picture in self.decode_tensor(codes)]

    def decode_tensor(self, codes: Sequence[Codes]) -> Tensor:
        """Codes to pictures, float32 [B, 3, S, S], not clamped."""
        ids = [self._checked(i, each.ids) for i, each in enumerate(codes)]
        if not ids:
            return torch.zeros(0, 3, self.config.size, self.config.size)
        with torch.no_grad():
            pieces = torch.split(torch.stack(ids), CHUNK)
            return torch.cat([self.net.decode(self.net.quantizer.lookup(piece)) for piece in pieces])

    def _tensor(self, index: int, item: Item) -> Tensor:
        try:
            return io.to_tensor(item, self.config.size)
        except (TypeError, ValueError, OSError) as error:
            raise BadItem(index, str(error)) from error

    def _checked(self, index: int, ids: Tensor) -> Tensor:
        parts = torch.tensor(self.spec.parts or (self.spec.size,))
        shape = (self.config.tokens, len(parts)) if self.spec.parts else (self.config.tokens,)
        if tuple(ids.shape) != shape:
            raise BadCodes(f"item {index}: codes of shape {list(ids.shape)}, but a picture has {list(shape)}")
        columns = ids if self.spec.parts else ids.unsqueeze(-1)
        if bool(((columns < 0) | (columns >= parts)).any()):
            raise BadCodes(f"item {index}: a code is outside its range: {parts.tolist()} codes, from 0")
        return ids

    def read(self, data: bytes, suffix: str) -> Item:
        """A picture file's bytes as an RGB PIL image; see `modalities.image.io`."""
        return io.read_image(data)

    def write(self, item: Item, suffix: str) -> bytes:
        """The picture as a file; .png and .webp keep every pixel."""
        return io.write_image(self._picture(item), suffix)

    def show(self, item: Item) -> Image.Image:
        """The picture as the tokenizer sees it."""
        return io.fit(self._picture(item), self.config.size)

    def compare(self, a: Item, b: Item) -> dict[str, float]:
        """`psnr` in dB at the tokenizer's size (inf for equal pictures) and `mae`, mean absolute error in [0, 1]."""
        one, two = (io.to_tensor(item, self.config.size) for item in (a, b))
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

    @classmethod
    def training_task(cls, model: Mapping[str, Any], data: Mapping[str, Any], root: Path) -> TokenizerTask:
        """What `modalities.common.trainer` trains; see `modalities.image.training`."""
        from .training import PictureTask

        return PictureTask(model, data, root)
