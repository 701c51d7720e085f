"""A scene as something to read: objects in order, each with its place and size in words and its points as a cloud.

    scene = Scene.of({"chair": chair, "desk": desk})              # clouds [n, 3] in metres, in one frame, z up
    scene = Scene.cut(room, boxes=boxes)                          # or one cloud and boxes [k, 2, 3] ...
    scene = Scene.cut(room)                                       # ... or the proposals of `proposals.propose`
    scene.parts() -> [{"text": "at 1.2 0.4 0.0, size 0.8 0.8 0.9:"}, {"cloud": tensor}, {"text": " at ...

The codes of a cloud forget where it stands and how large it is, so both stand in front of it: x and y of the middle and z
of the lowest point, then width (x), depth (y) and height (z), in metres with one decimal. `parts` are those of a
turn or a document (docs/data.md); `placed` reads such a text again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .io import as_cloud
from .proposals import inside, propose

CLOUD = "cloud"
NUMBER = r"(-?\d{1,40}\.\d)"  # as many digits as float32 can have, so that what is read is finite
PLACE = re.compile(rf"at {NUMBER} {NUMBER} {NUMBER}, size {NUMBER} {NUMBER} {NUMBER}:")

Triple = tuple[float, float, float]


class Place(NamedTuple):
    """Where an object stands (x and y of its middle, z of its lowest point) and its width, depth and height, in metres."""

    position: Triple
    size: Triple

    @property
    def text(self) -> str:
        """Such as "at 1.2 0.4 0.0, size 0.8 0.8 0.9:"; a length is never written as 0."""
        at = " ".join(_decimal(value) for value in self.position)
        return f"at {at}, size {' '.join(_decimal(max(value, 0.1)) for value in self.size)}:"


@dataclass(frozen=True, eq=False)
class Placed:
    """An object of a scene.

    Args:
        points: float32 [n, 3] in metres, in the scene's frame.
        name: what it is called, if it is.
        known: its place where that is known; else it is that of the axis-parallel box round the points.
    """

    points: Tensor
    name: str = ""
    known: Place | None = None

    @property
    def place(self) -> Place:
        """Where it is said to stand, and how large it is said to be."""
        if self.known is not None:
            return self.known
        low, high = self.points.amin(0), self.points.amax(0)
        middle = (low + high) / 2
        x, y, z = (float(value) for value in (middle[0], middle[1], low[2]))
        width, depth, height = (float(value) for value in high - low)
        return Place((x, y, z), (width, depth, height))


@dataclass(frozen=True, eq=False)
class Scene:
    """Objects in an order that means something to the reader: the n-th place belongs to the n-th cloud."""

    objects: tuple[Placed, ...]

    @classmethod
    def of(cls, clouds: Mapping[str, Any]) -> Scene:
        """Named clouds in one frame, in their order.

        Raises:
            TypeError, ValueError: no cloud, or one that is none; it is named.
        """
        if not clouds:
            raise ValueError("a scene of no objects: give at least one cloud")
        objects = []
        for name, cloud in clouds.items():
            try:
                objects.append(Placed(as_cloud(cloud), name))
            except (TypeError, ValueError) as error:
                raise type(error)(f"object {name!r}: {error}") from error
        return cls(tuple(objects))

    @classmethod
    def cut(cls, points: Any, boxes: Any = None, **options: Any) -> Scene:
        """One cloud of a whole scene, cut into objects.

        Args:
            points: [n, 3] in metres, z up.
            boxes: [k, 2, 3], the lowest and the highest corner of each object; None: proposals are made.
            options: of `proposals.propose`.

        Raises:
            ValueError: a box without points, or a cloud in which nothing is proposed.
            ImportError: without boxes, and open3d cannot be imported.
        """
        cloud = as_cloud(points)
        found = propose(cloud, **options) if boxes is None else inside(cloud, boxes)
        if not found:
            raise ValueError(
                f"no object is found in a cloud of {len(cloud)} points: lower `least`, raise `gap`, or give boxes"
            )
        return cls(tuple(Placed(cloud[index]) for index in found))

    def parts(self, clouds: Sequence[Any] | None = None, text: str = "text") -> list[dict[str, Any]]:
        """Place, cloud, place, cloud... as parts of a turn or a document.

        Args:
            clouds: what stands for each cloud, such as {"file": "clouds/7.npz"}; None: the points themselves.
            text: name of the text block.

        Raises:
            ValueError: not one for each object.
        """
        items = [one.points for one in self.objects] if clouds is None else list(clouds)
        if len(items) != len(self.objects):
            raise ValueError(f"{len(items)} clouds for {len(self.objects)} objects: give one for each")
        out: list[dict[str, Any]] = []
        for number, (one, item) in enumerate(zip(self.objects, items, strict=True)):
            out += [{text: (" " if number else "") + one.place.text}, {CLOUD: item}]
        return out

    @property
    def points(self) -> Tensor:
        """All objects as one cloud [n, 3]."""
        return torch.cat([one.points for one in self.objects])


def placed(text: str) -> list[Place]:
    """The places that a text names, in order."""
    found = []
    for match in PLACE.finditer(text):
        values = [float(value) for value in match.groups()]
        found.append(Place((values[0], values[1], values[2]), (values[3], values[4], values[5])))
    return found


def _decimal(value: float) -> str:
    """One decimal, and no minus before a zero."""
    return f"{round(value, 1) + 0.0:.1f}"
