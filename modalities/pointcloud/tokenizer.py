"""`pointcloud.any2point`: a cloud as 64 codes, by a small point tokenizer (see `modalities.pointcloud.network`).

Items are float32 tensors [n, 3] (arrays and lists too), n >= 1, z up, in any unit. Encoding moves the mean to
the origin and the farthest point to radius 1; position and size are not in the codes. The order of points
does not matter. Decoding gives clouds in that unit sphere; a prefix of the codes gives a coarser cloud.
The weights that ship were trained on furniture: what else goes in comes out coarsely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unitok.modality import BadCodes, BadItem, Codes, Item, Modality, Spec

from ..common.pretrained import CHUNK, encode_alike, network
from ..common.weights import fingerprint
from . import io
from .chamfer import cd1, cd2, f_score
from .network import TokenizerConfig, TokenizerNet
from .sample import canonical, stride, turns, unit_sphere

if TYPE_CHECKING:
    from PIL import Image

SHIPPED = Path(__file__).parent / "weights"
DEFAULT = "furniture"
CLOSE = 3e-4
"""A position with less margin than this is decided again by the cloud alone: sums differ in the last bits
with the size of a batch, and the codes of a cloud must not depend on its company."""
JUDGED = 512
"""Points of each cloud that `compare` looks at: Chamfer distances depend on it."""


class PointTokenizer(Modality):
    """Point clouds through a small point tokenizer.

    Args:
        weights: name of shipped weights ("furniture"), path of a .safetensors file, or None for a network
            with random weights (drawn from `seed`), which `options` then shape.
        name: block name in the vocabulary.
        tokens: how many of the codes `encode` gives; fewer are a coarser cloud.
        seed: of random weights.
        options: fields of `TokenizerConfig`, for weights=None alone.

    Raises:
        FileNotFoundError: no such weights; what ships is named.
        WeightsMismatch: the file fits another network.
    """

    suffixes = io.SUFFIXES

    def __init__(
        self,
        weights: str | Path | None = DEFAULT,
        *,
        name: str = "cloud",
        tokens: int | None = None,
        seed: int = 0,
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
        )
        self.tokens = self.net.tokens if tokens is None else tokens
        if not 1 <= self.tokens <= self.net.tokens:
            raise ValueError(f"tokens={tokens}, but this tokenizer has 1 to {self.net.tokens}")
        self.spec = Spec(
            name=name,
            size=self.net.quantizer.size,
            length=(1, self.net.tokens),
            fingerprint=fingerprint(
                {"tokenizer": "pointcloud.any2point", **self.config.model_dump(mode="json")}, self.net
            ),
        )

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Clouds to codes [tokens]; the same alone or in a batch, and for any order of the points.

        Raises:
            BadItem: not a cloud, without points, not finite, or all points in one place.
        """
        clouds = [self._prepared(i, item) for i, item in enumerate(items)]
        ids = encode_alike(clouds, self.latents, self.net.quantizer, CLOSE)
        return [Codes(each[: self.tokens].clone()) for each in ids]

    def latents(self, clouds: Tensor) -> Tensor:
        """Latents [B, K, D] before the quantizer, of clouds [B, inputs, 3] in the unit sphere."""
        with torch.no_grad():
            return self.net.encode(clouds)

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Codes, or prefixes of codes, to clouds float32 [points, 3] in the unit sphere.

        Any first points of a decoded cloud are spread over all of it.

        Raises:
            BadCodes: none, too many, or out of range.
        """
        ids = [self._checked(i, each.ids) for i, each in enumerate(codes)]
        clouds: list[Item] = []
        for at in range(0, len(ids), CHUNK):
            chunk = ids[at : at + CHUNK]
            padded = torch.nn.utils.rnn.pad_sequence(chunk, batch_first=True)
            kept = torch.tensor([len(each) for each in chunk])
            with torch.no_grad():
                made = self.net.decode(self.net.quantizer.lookup(padded), kept)
            clouds.extend(unit_sphere(made).points)
        return clouds

    def _prepared(self, index: int, item: Item) -> Tensor:
        """The item as [inputs, 3]: in the unit sphere, in canonical order, thinned or repeated."""
        try:
            points, _, radius = unit_sphere(io.as_cloud(item))
        except (TypeError, ValueError) as error:
            raise BadItem(index, str(error)) from error
        if not 0 < float(radius) < math.inf:
            raise BadItem(
                index,
                f"a cloud of radius {float(radius)} ({len(points)} points): it needs an extent that float32 holds",
            )
        return stride(canonical(points), self.config.inputs)

    def _checked(self, index: int, ids: Tensor) -> Tensor:
        if ids.dim() != 1 or not 1 <= len(ids) <= self.net.tokens:
            raise BadCodes(
                f"item {index}: codes of shape {list(ids.shape)}, but a cloud has 1 to {self.net.tokens} codes"
            )
        if bool(((ids < 0) | (ids >= self.spec.size)).any()):
            raise BadCodes(f"item {index}: a code is outside range({self.spec.size})")
        return ids

    def read(self, data: bytes, suffix: str) -> Item:
        """A file's bytes as a cloud; see `modalities.pointcloud.io`."""
        return io.read(data, suffix)

    def write(self, item: Item, suffix: str) -> bytes:
        """The cloud as a file: .ply, .xyz, .npy, .npz or .obj."""
        return io.write(io.as_cloud(item), suffix)

    def show(self, item: Item) -> Image.Image:
        """The cloud as a shaded picture of 256 x 256 pixels; see `modalities.pointcloud.render`."""
        from .render import render

        return render(io.as_cloud(item))

    def compare(self, a: Item, b: Item) -> dict[str, float]:
        """Chamfer distances (see `modalities.pointcloud.chamfer`) of 512 points of each, both in the unit sphere.

        `cd1` and `cd2` are 0 at best, `f_0.05` (F-score at 0.05) is 1 at best.
        """
        one, two = (self._judged(item) for item in (a, b))
        return {
            "cd1": float(cd1(one, two)),
            "cd2": float(cd2(one, two)),
            "f_0.05": float(f_score(one, two, 0.05)),
        }

    @staticmethod
    def _judged(item: Item) -> Tensor:
        points = canonical(unit_sphere(io.as_cloud(item)).points)
        return stride(points, min(JUDGED, len(points)))[None]

    def variants(self, item: Item, count: int) -> list[Item]:
        """The cloud, its mirror image, then small turns about the up axis of the two, always the same ones."""
        points = io.as_cloud(item)
        both = [points, points * points.new_tensor([-1.0, 1.0, 1.0])]
        found = both[:count]
        while len(found) < count:
            step = len(found) // 2
            angle = torch.tensor(math.radians(4.0 * ((step + 1) // 2)) * (1 if step % 2 else -1))
            found.append(both[len(found) % 2] @ turns(angle))
        return list(found)

    def label(self, item: Item) -> str:
        """Such as "cloud of 1024 points"."""
        return f"cloud of {len(io.as_cloud(item))} points"

    @classmethod
    def training_task(cls, model: Mapping[str, Any], data: Mapping[str, Any], root: Path) -> Any:
        """What `modalities.common.trainer` trains; see `modalities.pointcloud.training`."""
        from .training import CloudTask

        return CloudTask(model, data, root)
