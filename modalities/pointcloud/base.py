"""What every modality of point clouds shares: files, pictures, variants, and how alike two clouds are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unitok.modality import Item, Modality

from . import io
from .chamfer import cd1, cd2, f_score
from .sample import canonical, stride, turns, unit_sphere

if TYPE_CHECKING:
    from PIL import Image

JUDGED = 512
"""Points of each cloud that `compare` looks at: Chamfer distances depend on it."""


class CloudModality(Modality):
    """A modality whose items are clouds: float32 tensors [n, 3], with colours [n, 6], or what `io.as_cloud` takes for one."""

    suffixes = io.SUFFIXES

    def read(self, data: bytes, suffix: str) -> Item:
        """A file's bytes as a cloud, with its colours if it has any; see `modalities.pointcloud.io`."""
        return io.read(data, suffix)

    def write(self, item: Item, suffix: str) -> bytes:
        """The cloud as a file: .ply, .xyz, .npy, .npz or .obj."""
        return io.write(io.painted(item), suffix)

    def show(self, item: Item) -> Image.Image:
        """The cloud as a shaded picture of 256 x 256 pixels, in its colours if it has any; see `modalities.pointcloud.render`."""
        from .render import render

        return render(io.painted(item))

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
        cloud = io.painted(item)
        points, colours = cloud[:, :3], cloud[:, 3:]
        both = [points, points * points.new_tensor([-1.0, 1.0, 1.0])]
        found = both[:count]
        while len(found) < count:
            step = len(found) // 2
            angle = torch.tensor(math.radians(4.0 * ((step + 1) // 2)) * (1 if step % 2 else -1))
            found.append(both[len(found) % 2] @ turns(angle))
        return [torch.cat([each, colours], 1) for each in found]

    def label(self, item: Item) -> str:
        """Such as "cloud of 1024 points"."""
        return f"cloud of {len(io.as_cloud(item))} points"
