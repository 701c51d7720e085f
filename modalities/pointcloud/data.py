"""Clouds to train on and to measure with: lists of files, arrays of points, packed voxel grids; held out by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from unitok.strict import Strict

from ..common.training import held_out
from . import io
from .sample import unit_sphere
from .voxels import draw, unpack


class CloudData(Strict):
    """Where the clouds are: the `[data]` table."""

    train: str = Field(
        description="a .jsonl of records with a cloud, or an .npz with points [n, N, 3], with colours [n, N, 6], or voxels"
    )
    array: str = Field("", description="npz: its array; uint8 [n, bytes] is read as packed voxel grids")
    labels: str = Field("", description="npz: the array of classes; jsonl: the field with the class's name")
    sampled: int = Field(
        4096, ge=2, description="voxels: points drawn from each grid, of which steps take some"
    )
    field: str = Field("cloud", description="jsonl: the field with the cloud's file")
    key: str = Field("furniture", description="npz: cloud i is held out by the hash of '<key>/<i>'")
    licence: str = Field("", description="noted beside the weights")
    source: str = Field("", description="front any2point: folder of the frozen transformer")
    judged: int = Field(512, ge=1, description="points that decoded clouds are compared with")
    stretch: float = Field(0.2, ge=0, description="augmentation: deviation of the log of each axis's scale")
    turn: float = Field(0.15, ge=0, description="augmentation: deviation of the angle about the up axis")
    plain: float = Field(0.3, ge=0, le=1, description="share of clouds that are only sampled anew")
    fit: int = Field(4, ge=1, description="passes over the clouds from which the linear path is fitted")
    linear_rate: float = Field(0.1, ge=0, description="learning rate of the linear path as a share of lr")
    widen: float = Field(1.35, gt=0, description="how much wider the components' ranges are than the best")


class Clouds(NamedTuple):
    """Clouds [n, N, 3], classes int64 [n] (None without labels), which row of the file each is, names of classes.

    Colours are [n, N, 3] in [0, 1], None if the file has none.
    """

    points: Tensor
    labels: Tensor | None
    rows: list[int]
    names: tuple[str, ...] = ()
    colours: Tensor | None = None

    def take(self, index: Tensor) -> Clouds:
        """Some of them."""
        some = None if self.labels is None else self.labels[index]
        colours = None if self.colours is None else self.colours[index]
        return Clouds(self.points[index], some, [self.rows[i] for i in index.tolist()], self.names, colours)


def from_npz(path: Path, array: str = "", labels: str = "", sampled: int = 4096, seed: int = 0) -> Clouds:
    """Clouds of an .npz: points [n, N, 3] or [n, N, 6] as they are, or `sampled` points of each packed voxel grid.

    Empty grids, and grids that repeat an earlier one bit by bit, are left out.

    Args:
        seed: of the draw from voxels; another seed is another sampling of the same surfaces.

    Raises:
        ValueError: no such array, one of another shape, labels of another number, or nothing but empty grids.
    """
    held = io.arrays(path)
    name = array or (io.ARRAY if io.ARRAY in held or len(held) != 1 else next(iter(held)))
    for wanted in filter(None, (name, labels)):
        if wanted not in held:
            raise ValueError(f"{path} has the arrays {', '.join(held)}, none of them called {wanted!r}")
    found = held[name]
    classes = held[labels] if labels else None
    if found.ndim == 0:
        raise ValueError(f"{path}: {name} is a single value: need numbers [n, N, 3]")
    if classes is not None:
        classes = io.checked_labels(classes, len(found), f"{path}: {labels}")
    if found.dtype == np.uint8 and found.ndim == 2:
        stack, rows = _from_voxels(found, sampled, seed, f"{path}: {name}")
    else:
        stack, rows = io.checked_stack(found, f"{path}: {name}"), list(range(len(found)))
    numbers = None if classes is None else torch.from_numpy(classes[rows])
    names = tuple(str(each) for each in np.atleast_1d(held["names"])) if "names" in held and labels else ()
    return Clouds(stack[..., :3], numbers, rows, names, stack[..., 3:] if stack.shape[-1] > 3 else None)


def _from_voxels(packed: NDArray[np.uint8], count: int, seed: int, where: str) -> tuple[Tensor, list[int]]:
    """Half precision clouds [n, count, 3] in the unit sphere of grids, and which rows they are."""
    known: set[bytes] = set()
    clouds, rows = [], []
    for row, bits in enumerate(packed):
        if not bits.any() or bits.tobytes() in known:
            continue
        known.add(bits.tobytes())
        points = torch.from_numpy(draw(unpack(bits[None])[0], count, seed=seed * len(packed) + row))
        clouds.append(unit_sphere(points).points.half())
        rows.append(row)
    if not clouds:
        raise ValueError(f"{where} has {len(packed)} voxel grids, all of them empty: give one that is not")
    return torch.stack(clouds), rows


def split(path: Path, settings: CloudData) -> tuple[Clouds, Clouds]:
    """Training and held-out clouds of a file, float16 [n, N, 3] each, in the unit sphere.

    Raises:
        ValueError: no clouds, clouds with different numbers of points, or no cloud on one side.
    """
    if path.suffix == ".npz":
        found = from_npz(path, settings.array, settings.labels, settings.sampled)
        out = torch.tensor([held_out(f"{settings.key}/{row}") for row in found.rows], dtype=torch.bool)
    else:
        found, out = _from_records(path, settings)
    if bool(out.all()) or not bool(out.any()):
        raise ValueError(
            f"{path}: {len(out)} clouds, {int(out.sum())} of them held out: both sides need some"
        )
    radius = unit_sphere(found.points.float()).radius.flatten()
    if bool((radius == 0).any()):
        row = found.rows[int((radius == 0).nonzero()[0])]
        raise ValueError(f"{path}: cloud {row} has all its points in one place: leave it out")
    found = found._replace(points=unit_sphere(found.points.float()).points.half())
    return found.take((~out).nonzero()[:, 0]), found.take(out.nonzero()[:, 0])


def _from_records(path: Path, settings: CloudData) -> tuple[Clouds, Tensor]:
    """Clouds of a list of records, and which of them are held out."""
    records, clouds = [], []
    for number, line in enumerate(path.read_bytes().decode("utf-8-sig", errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        record = _record(line, f"{path}, line {number}", settings)
        records.append(record)
        clouds.append(io.load(path.parent / record[settings.field]["file"]))
    if not clouds:
        raise ValueError(f"{path} holds no records: give a line of JSON for each cloud")
    counts = {len(cloud) for cloud in clouds}
    if len(counts) != 1:
        raise ValueError(
            f"{path}: clouds have {sorted(counts)[:5]} points: training needs one number of them"
        )
    numbers, names = None, ()
    if settings.labels:
        told = [str(record.get(settings.labels, "")) for record in records]
        names = tuple(sorted(set(told)))
        numbers = torch.tensor([names.index(each) for each in told])
    out = torch.tensor([_is_out(record) for record in records])
    width = min(cloud.shape[1] for cloud in clouds)  # colours count if all clouds have them
    stack = torch.stack([cloud[:, :width] for cloud in clouds])
    colours = stack[..., 3:] if width > 3 else None
    return Clouds(stack[..., :3], numbers, list(range(len(clouds))), names, colours), out


def _record(line: str, where: str, settings: CloudData) -> dict[str, Any]:
    """One line as a record with a cloud's file, its class where classes are wanted, and a side or a key to find it by."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"{where}: {line[:40]!r} is not an object with named fields")
    if settings.field not in record:
        raise ValueError(f"{where} has no {settings.field!r}: name the field, data.field")
    cloud = record[settings.field]
    if not isinstance(cloud, dict) or not isinstance(cloud.get("file"), str):
        raise ValueError(f'{where}: {settings.field!r} is {cloud!r:.60} and not {{"file": PATH}}')
    if settings.labels and settings.labels not in record:
        raise ValueError(f"{where} has no class {settings.labels!r}: name the field, data.labels")
    if "split" not in record and "key" not in record:
        raise ValueError(f"{where} has neither 'split' nor 'key': give one, by which clouds are held out")
    return record


def _is_out(record: Mapping[str, Any]) -> bool:
    if "split" in record:
        return bool(record["split"] == "heldout")
    return held_out(str(record["key"]))
