"""`image.detailflow`: a picture as codes from coarse to fine, eight at a time (see `modalities.image.detailflow_net`).

DetailFlow (Liu et al., arXiv:2505.21473). The first 1 to 8 codes, and then any number of groups of eight, are a picture
of their own: a smaller one, as they hold less detail. `decode` gives each at its own side, or at `side=`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unitok.modality import Item

from .base import ImageTokenizer
from .detailflow_config import PRESETS, DetailFlowConfig
from .detailflow_net import DetailFlowNet
from .detailflow_released import released


class DetailFlow(ImageTokenizer):
    """Pictures from coarse to fine; see `ImageTokenizer` for the options that all systems have.

    `decode` and `decode_tensor` take `side`, in pixels, for pictures of any number of codes at one size.
    """

    tokenizer = "image.detailflow"
    Config, Net = DetailFlowConfig, DetailFlowNet
    released = staticmethod(released)

    def __init__(self, weights: Any = None, *, preset: str | None = None, **options: Any) -> None:
        if weights is None and preset is None:
            preset = "small64"
        super().__init__(weights, preset=preset, **options)

    @classmethod
    def preset(cls, name: str) -> DetailFlowConfig:
        """The published network of "128", "256" or "512" codes, or "small64" of ours.

        Raises:
            ValueError: none is called so.
        """
        if name not in PRESETS:
            raise ValueError(f"no DetailFlow is called {name!r}: there are {', '.join(PRESETS)}")
        return PRESETS[name]

    def guidance(self, count: int, **given: Any) -> dict[str, Any]:
        """The side of the pictures, if it is not that of so many codes.

        Raises:
            TypeError: another keyword.
        """
        if unknown := given.keys() - {"side"}:
            raise TypeError(f"decode takes side, and no {', '.join(sorted(unknown))}")
        return {} if given.get("side") is None else {"side": int(given["side"])}

    def degraded(self, pictures: Tensor, count: int) -> Tensor:
        """What `count` codes are to show of pictures [B, 3, S, S], at the size that they are decoded to."""
        shown: Tensor = self.config.detail.degraded(pictures, count)
        return shown

    def corrected(self, items: Sequence[Item], seed: int = 0) -> list[Tensor]:
        """Codes for training a generator that corrects itself, int64 [K, 3] of each picture; see `DetailFlowNet.triples`.

        Raises:
            BadItem: as in `encode`.
        """
        low, high = self.config.range
        pictures = torch.stack([self._tensor(i, item) for i, item in enumerate(items)])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net: Any = self.net
            return list(net.triples((pictures * (high - low) + low).to(self.device)))
