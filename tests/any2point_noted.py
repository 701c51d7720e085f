"""Numbers of the published modules, noted once, and the hash that fills weights and clouds alike everywhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from held import held
from released import fill, numbers
from torch import Tensor

SOURCES = ("language", "vision", "audio")
TABLES = {
    "language": ("source.positional_embedding", (77, 768), 0),
    "vision": ("source.pos_embed", (1370, 768), 1),
    "audio": ("source.modality_preprocessors.audio.pos_embedding_helper.pos_embed", (229, 768), 1),
}
"""Key, shape and rows of class tokens of each source's positions."""


def keys(source: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and kind (trainable, frozen, buffer) of every published tensor."""
    lines = held("pointcloud", f"golden/keys_{source}.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return {key: (tuple(int(n) for n in shape.split(",") if n), kind) for key, shape, _, kind in rows}


def tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    """A filled tensor; running statistics have rules of their own."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if key.endswith("running_var"):
        return (1 + 0.2 * (numbers(key, shape) - 0.5)).float()
    return fill(key, shape)


def table(source: str) -> Tensor:
    """The source's positions without class tokens."""
    key, shape, leading = TABLES[source]
    return (0.02 * (2 * numbers(key, shape) - 1)).float()[leading:]


def clouds(count: int = 1024) -> Tensor:
    """Two clouds in the unit sphere, the second one flat: [2, count, 3]."""
    points = 2 * numbers("input.cloud", (2, count, 3)) - 1
    points[1] *= torch.tensor([1.0, 0.6, 0.3], dtype=torch.float64)
    points = points - points.mean(1, keepdim=True)
    return (points / points.norm(dim=-1).amax(1)[:, None, None]).float()


def six() -> Tensor:
    """Six clouds [6, 1024, 3]: the two, turned, and cut in half along an axis."""
    two = clouds()
    half = torch.where(two[..., :1] > 0, two, two * torch.tensor([0.125, 1.0, 1.0]))
    return torch.cat([two, two.flip(-1), half])


def golden(source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What was noted: summaries, arrays."""
    found = json.loads(held("pointcloud", f"golden/golden_{source}.json").read_text())
    arrays = np.load(held("pointcloud", f"golden/golden_{source}.npz"))
    return found, {name: torch.from_numpy(arrays[name]) for name in arrays.files}
