"""A picture tokenizer of nested codes, small enough to see through: means over bands, few codes make small pictures."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from modalities.common.quantize import FSQ
from modalities.image.base import ImageConfig, ImageTokenizer

LENGTHS = (1, 2, 4, 8)


class Config(ImageConfig):
    """Eight codes."""

    size: int = 16
    tokens: int = 8

    @property
    def lengths(self) -> tuple[int, ...]:
        return LENGTHS


class Bands(nn.Module):
    """A picture's means over eight bands; from k of them a picture of side 2 k of their mean."""

    cheap_prefix = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.quantizer = config, FSQ((5,))
        self.asked: list[int] = []

    def encode(self, pictures: Tensor, count: int = 8) -> Tensor:
        self.asked.append(count)
        flat = pictures.mean(1).flatten(1).unflatten(1, (8, -1)).mean(-1)
        return (2 * flat[:, :count] - 1).unsqueeze(-1)

    def decode(self, z_q: Tensor, shade: Tensor | None = None) -> Tensor:
        side = 2 * z_q.shape[1]
        level = (z_q.mean((1, 2)) + 1) / 2
        level = level if shade is None else level * shade
        return level.view(-1, 1, 1, 1).expand(-1, 3, side, side)


class Nested(ImageTokenizer):
    """The tokenizer of the tests."""

    tokenizer = "image.bands"
    Config, Net = Config, Bands

    def guidance(self, count: int, **given: Any) -> dict[str, Any]:
        return given
