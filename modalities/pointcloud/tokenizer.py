"""`pointcloud.any2point`: a cloud as 64 codes, by a point tokenizer (see `modalities.pointcloud.network`).

Items are float32 tensors [n, 3] (arrays and lists too), n >= 1, z up, in any unit; with `rgb` [n, 6]. Encoding
moves the mean to the origin and the farthest point to radius 1. The order of points does not matter. Decoding gives
clouds in that unit sphere; a prefix of the codes gives a coarser cloud. Position and size are not in the codes,
unless `placed`: then four codes of `modalities.pointcloud.placement` stand in front, items are in metres, and decoded
clouds, too. The weights that ship were trained on furniture: what else goes in comes out coarsely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unitok.modality import BadCodes, BadItem, Codes, Item, Legal, Spec

from ..common.pretrained import CHUNK, encode_alike, network
from ..common.weights import fingerprint
from . import io
from .base import CloudModality
from .config import TokenizerConfig
from .network import TokenizerNet
from .placement import BINS, CODES, Placement
from .sample import canonical, stride, unit_sphere

SHIPPED = Path(__file__).parent / "weights"
DEFAULT = "furniture"
CLOSE = 3e-4
"""A position with less margin than this is decided again by the cloud alone: sums differ in the last bits
with the size of a batch, and the codes of a cloud must not depend on its company."""


class PointTokenizer(CloudModality):
    """Point clouds through a small point tokenizer.

    Args:
        weights: name of shipped weights ("furniture"), path of a .safetensors file, or None for a network
            with random weights (drawn from `seed`), which `options` then shape.
        name: block name in the vocabulary.
        budget: how many of the codes `encode` gives, those of the place apart; fewer are a coarser cloud.
        seed: of random weights.
        preset: "cloud", "small" or "base": what `options` change, for weights=None alone.
        placed: put four codes of place and size in front; items are then in metres.
        extent: metres from the origin that placed clouds may lie along each axis.
        options: fields of `TokenizerConfig`, for weights=None alone.

    Raises:
        FileNotFoundError: no such weights; what ships is named.
        WeightsMismatch: the file fits another network.
    """

    def __init__(
        self,
        weights: str | Path | None = DEFAULT,
        *,
        name: str = "cloud",
        budget: int | None = None,
        seed: int = 0,
        preset: str | None = None,
        placed: bool = False,
        extent: float = Placement.extent,
        **options: Any,
    ) -> None:
        self.config, self.net = network(
            weights,
            options,
            seed,
            tokenizer="pointcloud.any2point",
            shipped=SHIPPED,
            config=TokenizerConfig,
            build=TokenizerNet,
            preset=None if preset is None else TokenizerConfig.preset(preset),
        )
        self.placement = Placement(extent) if placed else None
        self.ahead = CODES if placed else 0  # how many codes stand before those of the shape
        self.budget = self.net.tokens if budget is None else budget
        if not 1 <= self.budget <= self.net.tokens:
            raise ValueError(f"budget={budget}, but this tokenizer has 1 to {self.net.tokens} codes")
        quantizer = self.net.quantizer
        if placed and quantizer.parts:
            raise ValueError(
                f"placed = true, but codes of {quantizer.parts} parts leave no room for a code of one part: use fsq or vq"
            )
        where = {"placed": asdict(self.placement)} if self.placement else {}
        self.spec = Spec(
            name=name,
            size=quantizer.size + (BINS if placed else 0),
            length=(1 + self.ahead, self.net.tokens + self.ahead),
            parts=quantizer.parts,
            fingerprint=fingerprint(
                {"tokenizer": "pointcloud.any2point", **self.config.told(), **where}, self.net
            ),
            nested=tuple(range(1 + self.ahead, self.net.tokens + self.ahead + 1)),
        )

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Clouds to codes [budget], placed [4 + budget]; the same alone or in a batch, and for any order of the points.

        Raises:
            BadItem: not a cloud, without points, not finite, or all points in one place; placed: too far or too
                large.
        """
        found = [self.prepared(i, item) for i, item in enumerate(items)]
        ids = encode_alike([cloud for cloud, _ in found], self.latents, self.net.quantizer, CLOSE)
        return [
            Codes(torch.cat([place, each[: self.budget]]))
            if self.ahead
            else Codes(each[: self.budget].clone())
            for each, (_, place) in zip(ids, found, strict=True)
        ]

    def encoding(self) -> dict[str, Any]:
        """The budget, where one was given."""
        return {"budget": self.budget} if self.budget < self.net.tokens else {}

    def latents(self, clouds: Tensor) -> Tensor:
        """Latents [B, K, D] before the quantizer, of clouds [B, inputs, 3 or 6] in the unit sphere."""
        with torch.no_grad():
            return self.net.encode(clouds)

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Codes, or prefixes of codes, to clouds float32 [points, 3], or [points, 6] with `rgb`.

        Any first points of a decoded cloud are spread over all of it.

        Raises:
            BadCodes: none, too many, or out of range.
        """
        checked = [self._checked(i, each.ids) for i, each in enumerate(codes)]
        ids = [each[self.ahead :] for each in checked]
        clouds: list[Item] = []
        for at in range(0, len(ids), CHUNK):
            chunk = ids[at : at + CHUNK]
            padded = torch.nn.utils.rnn.pad_sequence(chunk, batch_first=True)
            kept = torch.tensor([len(each) for each in chunk])
            with torch.no_grad():
                made = self.net.decode(self.net.quantizer.lookup(padded), kept)
            clouds.extend(torch.cat([unit_sphere(made[..., :3]).points, made[..., 3:]], -1))
        if self.placement is None:
            return clouds
        return [self._put(cloud, each[:CODES]) for cloud, each in zip(clouds, checked, strict=True)]

    def _put(self, cloud: Tensor, codes: Tensor) -> Tensor:
        """A cloud of the unit sphere where its first codes say, in metres."""
        assert self.placement is not None
        centre, radius = self.placement.decode(codes - self.net.quantizer.size)
        return torch.cat([cloud[:, :3] * radius + centre, cloud[:, 3:]], -1)

    def prepared(self, index: int, item: Item) -> tuple[Tensor, Tensor]:
        """The item as [inputs, 3 or 6]: in the unit sphere, in canonical order, thinned or repeated; codes of place."""
        place = torch.zeros(0, dtype=torch.long)
        try:
            cloud = io.as_cloud(item, self.config.rgb)
            points, centre, radius = unit_sphere(cloud[:, :3])
            if not 0 < float(radius) < math.inf:
                raise ValueError(
                    f"a cloud of radius {float(radius)} ({len(points)} points): it needs an extent that float32 holds"
                )
            if self.placement is not None:
                place = self.placement.encode(centre[0], radius[0, 0]) + self.net.quantizer.size
        except (TypeError, ValueError) as error:
            raise BadItem(index, str(error)) from error
        return stride(canonical(torch.cat([points, cloud[:, 3:]], 1)), self.config.inputs), place

    def _checked(self, index: int, ids: Tensor) -> Tensor:
        """Codes of the right shape, length and ranges."""
        shape, parts = list(ids.shape), self.spec.parts
        low, high = self.spec.length
        if (
            ids.dim() != 1 + bool(parts)
            or not low <= len(ids) <= (high or 0)
            or (parts and shape[1] != len(parts))
        ):
            raise BadCodes(f"item {index}: codes of shape {shape}, but a cloud has {low} to {high} codes")
        size = self.net.quantizer.size
        tops = torch.tensor(parts or [size])
        own = ids[self.ahead :].reshape(len(ids) - self.ahead, -1)
        if bool(((own < 0) | (own >= tops)).any()):
            raise BadCodes(f"item {index}: a code is outside range({'parts' if parts else size})")
        if self.ahead and bool(((ids[:CODES] < size) | (ids[:CODES] >= size + BINS)).any()):
            raise BadCodes(
                f"item {index}: one of the first {CODES} codes is no place: they lie in range({size}, {size + BINS})"
            )
        return ids

    def legal(self, prefix: Sequence[int]) -> Legal:
        """What may follow: with `placed` bins of the table four times, then codes of the shape alone."""
        if not self.ahead:
            return super().legal(prefix)
        size = self.net.quantizer.size
        return Legal((range(size, size + BINS) if len(prefix) < CODES else range(size),), len(prefix) > CODES)

    @classmethod
    def training_task(
        cls,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> Any:
        """What `modalities.common.trainer` trains; see `modalities.pointcloud.training`."""
        from .training import CloudTask

        return CloudTask(model, data, root, loss)
