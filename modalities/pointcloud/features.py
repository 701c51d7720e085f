"""`pointcloud.features`: a cloud as continuous features, which a model reads and never writes.

The second way to understand clouds, after PointLLM (Xu et al., arXiv:2308.16911): a trained encoder, here that of a point
tokenizer before its quantizer, and one linear projector, which is the decoder's own for a `float` side channel and trains
with it. In the vocabulary stands a single code, the placeholder of every position.

    64 latents of D values in (-1, 1), the first `tokens` of them -> `positions` rows of tokens / positions * D values

Latents are in the order of what they say of the shape, so that few of them are a coarse description.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from unitok.modality import BadCodes, Codes, Item, Side, Spec

from ..common.quantize import FSQ
from ..common.weights import fingerprint
from .base import CloudModality
from .tokenizer import DEFAULT, PointTokenizer

CHANNEL = "features"


class CloudFeatures(CloudModality):
    """Point clouds as features of a point tokenizer's encoder.

    Args:
        weights: of the tokenizer, as in `PointTokenizer`.
        name: block name in the vocabulary.
        tokens: how many latents are told; None for all.
        positions: over how many positions they are spread; divides `tokens`.
        options: of a tokenizer with random weights, for weights=None alone.

    Raises:
        ValueError: positions do not divide the latents, or `placed` is given.
        FileNotFoundError, WeightsMismatch: as in `PointTokenizer`.
    """

    def __init__(
        self,
        weights: str | Path | None = DEFAULT,
        *,
        name: str = "cloud",
        tokens: int | None = None,
        positions: int = 8,
        **options: Any,
    ) -> None:
        if "placed" in options:
            raise ValueError("features have no codes of place and size: say both in words beside the cloud")
        self.encoder = PointTokenizer(weights, name=name, budget=tokens, **options)
        self.tokens = self.encoder.budget
        if positions < 1 or self.tokens % positions:
            raise ValueError(f"positions={positions} must divide the {self.tokens} latents that are told")
        self.positions = positions
        self.spec = Spec(
            name=name,
            size=1,
            length=(positions, positions),
            side={CHANNEL: Side("float", self.tokens // positions * self.encoder.net.quantizer.dim)},
            fingerprint=fingerprint(
                {
                    "tokenizer": "pointcloud.features",
                    **self.encoder.config.told(),
                    "told": [self.tokens, positions],
                },
                self.encoder.net,
            ),
        )

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Clouds to placeholders int64 [positions] and features float32 [positions, width]; any order of the points.

        Raises:
            BadItem: as `PointTokenizer.encode`.
        """
        clouds = [self.encoder.prepared(i, item)[0] for i, item in enumerate(items)]
        ids = torch.zeros(self.positions, dtype=torch.long)
        return [Codes(ids.clone(), {CHANNEL: self.features(cloud)}) for cloud in clouds]

    def features(self, cloud: Tensor) -> Tensor:
        """Features [positions, width] of one cloud [inputs, 3 or 6] in the unit sphere.

        One at a time: sums differ in the last bits with the size of a batch.
        """
        latents = self.encoder.latents(cloud[None])[0, : self.tokens]  # [tokens, D]
        if isinstance(self.encoder.net.quantizer, FSQ):
            values = latents.tanh()  # what FSQ rounds
        else:
            values = torch.nn.functional.layer_norm(latents, latents.shape[-1:]).tanh()
        return rearrange(values, "(p t) d -> p (t d)", p=self.positions)

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """There is nothing to decode.

        Raises:
            BadCodes: always, unless `codes` is empty.
        """
        if codes:
            raise BadCodes(
                f"item 0: placeholders of {self.spec.name!r} hold no shape: models read features of clouds and do not "
                "write them, so let them write pointcloud.any2point"
            )
        return []
