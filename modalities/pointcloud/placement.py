"""Where a cloud stands and how large it is, as four codes: x, y and z of its centre, then its radius.

    Placement(extent=8.0).encode(centre [3], radius) -> int64 [4]       decode(codes) -> centre [3], radius

A table of 256 bins serves all four. Coordinates lie on an even scale from -extent to extent metres, radii on a
logarithmic one (an even share, not an even length, is lost of a lamp and of a wardrobe). A decoded value is its
bin's middle: off by at most half a bin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 256
CODES = 4


@dataclass(frozen=True)
class Placement:
    """The scales.

    Args:
        extent: metres from the origin that centres may lie along each axis.
        smallest, largest: radii in metres.

    Raises:
        ValueError: an extent or radii that make no scale.
    """

    extent: float = 8.0
    smallest: float = 0.01
    largest: float = 20.0

    def __post_init__(self) -> None:
        if not (0 < self.extent < math.inf and 0 < self.smallest < self.largest < math.inf):
            raise ValueError(
                f"extent = {self.extent}, radii from {self.smallest} to {self.largest}: give positive lengths in "
                "metres, the smallest radius below the largest"
            )

    @property
    def width(self) -> float:
        """Metres of a bin of x, y or z."""
        return 2 * self.extent / BINS

    @property
    def ratio(self) -> float:
        """How many times the radius of a bin that of the bin before is."""
        return (self.largest / self.smallest) ** (1 / BINS)

    def encode(self, centre: Tensor, radius: Tensor) -> Tensor:
        """Bins int64 [4] of a centre [3] and a radius, in metres.

        Raises:
            ValueError: outside of the scales.
        """
        if not bool((centre.abs() <= self.extent).all()):  # not finite is outside, too
            raise ValueError(
                f"a cloud whose centre is at {[round(v, 3) for v in centre.tolist()]}: placed clouds lie within "
                f"{self.extent} metres of the origin along each axis, so move it or raise extent"
            )
        if not self.smallest <= float(radius) <= self.largest:
            raise ValueError(
                f"a cloud of radius {float(radius):.4g}: placed clouds have {self.smallest} to {self.largest} metres"
            )
        place = (centre.double() / self.extent + 1) / 2
        size = (radius.double().reshape(1) / self.smallest).log() / math.log(self.largest / self.smallest)
        return (torch.cat([place, size]) * BINS).floor().long().clamp(0, BINS - 1)

    def decode(self, codes: Tensor) -> tuple[Tensor, float]:
        """The centre float32 [3] and the radius in the middle of bins [4].

        Raises:
            ValueError: a code that is no bin.
        """
        if codes.shape != (CODES,) or not bool(((codes >= 0) & (codes < BINS)).all()):
            raise ValueError(f"place codes {codes.tolist()}: give {CODES} numbers from 0 to {BINS - 1}")
        share = (codes.double() + 0.5) / BINS
        centre = (2 * share[:3] - 1) * self.extent
        radius = self.smallest * (self.largest / self.smallest) ** float(share[3])
        return centre.float(), radius
