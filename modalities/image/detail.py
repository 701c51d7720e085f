"""How much of a picture so many codes show: DetailFlow's map between numbers of codes and resolutions.

    detail = Detail(size=256, tokens=128)
    detail.lengths               1, 2, … 8, 16, 24, … 128: the numbers of codes that a picture may have
    detail.resolution(40)        108: the side whose content 40 codes are to hold
    detail.side(40)              112: the side at which the decoder paints them, a multiple of the patch
    detail.count(112)            40: the number of codes whose resolution is nearest to that side

Liu et al., arXiv:2505.21473, section 3.2. Codes come in groups; those of the first group one by one, later ones together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Detail:
    """The map of one tokenizer.

    Args:
        size: side of the whole picture in pixels.
        tokens: codes of the whole picture, a multiple of `group`.
        group: codes that are made together.
        patch: side of a patch of the decoder.
        power: how much of the resolution the first codes bring; 1 makes it grow evenly.
    """

    size: int
    tokens: int
    group: int = 8
    patch: int = 16
    power: float = 1.5

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """The numbers of codes that a picture may have, in rising order."""
        return (*range(1, self.group + 1), *range(2 * self.group, self.tokens + 1, self.group))

    def resolution(self, count: int) -> int:
        """R(count): the side in pixels that `count` codes are to show, 1 to `size`.

        Raises:
            ValueError: a picture cannot have this number of codes.
        """
        if count not in self.lengths:
            raise ValueError(
                f"{count} codes: a picture has 1 to {self.group}, or a multiple of {self.group} up to {self.tokens}"
            )
        # in the order of the published formula: another one falls to the other side of some whole numbers
        steep = (self.size - 1) / max(1, self.tokens - 1) ** self.power
        side = int(self.size - steep * (self.tokens - count) ** self.power)
        return max(1, min(side, self.size))

    def side(self, count: int) -> int:
        """The side in pixels at which the decoder paints `count` codes.

        Raises:
            ValueError: as in `resolution`.
        """
        return max(1, -(-self.resolution(count) // self.patch)) * self.patch

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """For each side that the decoder paints, the number of codes whose resolution is nearest; of two the larger."""
        best: dict[int, int] = {}
        for count in self.lengths:
            side = self.side(count)
            far = abs(self.resolution(count) - side)
            if side not in best or far <= abs(self.resolution(best[side]) - side):
                best[side] = count
        return best

    def count(self, side: int) -> int:
        """The number of codes for a picture of this side.

        Raises:
            ValueError: no number of codes makes it.
        """
        if side not in self.counts:
            raise ValueError(
                f"no number of codes is painted at side {side}: there are {', '.join(map(str, self.counts))}"
            )
        return self.counts[side]

    def degraded(self, pictures: Tensor, count: int) -> Tensor:
        """What `count` codes are to show of pictures [B, 3, S, S]: averaged to R(count), then [B, 3, side, side]."""
        resolution, side = self.resolution(count), self.side(count)
        small = resized(pictures, resolution)
        return resized(small, side)


def resized(pictures: Tensor, side: int) -> Tensor:
    """Pictures [B, 3, S, S] averaged over areas to a smaller side, or enlarged (bicubic) to a larger one."""
    if pictures.shape[-1] > side:
        return F.interpolate(pictures, size=(side, side), mode="area")
    if pictures.shape[-1] == side:
        return pictures
    return F.interpolate(pictures, size=(side, side), mode="bicubic", align_corners=False)


def group_causal(count: int, group: int, before: int = 0) -> Tensor:
    """Which of `before` other tokens and `count` codes each code sees: bool [count, before + count].

    A code sees all other tokens, the codes of earlier groups and of its own; in the first group only those up to itself.
    """
    place = torch.arange(count)
    last = torch.where(place < group, place, place // group * group + group - 1)  # the last code that is seen
    return torch.cat([torch.ones(count, before, dtype=torch.bool), place <= last.unsqueeze(1)], dim=1)
