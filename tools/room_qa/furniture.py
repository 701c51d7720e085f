"""Furniture that can stand in a room: points, true size, and what kind of thing its name says it is.

Sources are the 310 models that ship (recipes/demo/clouds.jsonl) or an .npz with `points` [n, N, 3] (z up, any unit),
`name` and `size_cm` [n, 3] (width, depth, height).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities.pointcloud import io
from unitok.eval.qa3d.formats import json_lines

KINDS = {
    "armchair": ("armchair",),
    "bath": ("bath", "bathtub"),
    "bed": ("bed",),
    "bench": ("bench",),
    "bicycle": ("bicycle", "bike", "scooter", "motorbike"),
    "bookcase": ("bookcase",),
    "box": ("box", "crate"),
    "cabinet": ("cabinet", "cupboard", "dresser", "vanity"),
    "chair": ("chair",),
    "desk": ("desk",),
    "fan": ("fan",),
    "fridge": ("fridge", "refrigerator", "freezer"),
    "lamp": ("lamp", "lantern"),
    "oven": ("oven", "stove", "cooker"),
    "person": ("female", "male", "boy", "girl"),
    "piano": ("piano",),
    "plant": ("plant", "cactus", "ficus", "yucca", "tulips", "flowers", "orchids"),
    "radiator": ("radiator",),
    "shelves": ("shelves",),
    "sofa": ("sofa", "couch"),
    "stool": ("stool", "puff", "ottoman"),
    "table": ("table",),
    "television": ("tv", "television"),
    "toilet": ("toilets",),
    "tree": ("tree",),
    "vase": ("vase",),
    "wardrobe": ("wardrobe",),
    "washbasin": ("washbasin", "sink", "basin", "lavatory"),
    "washing machine": ("washing machine", "dryer machine"),
}
"""Kind -> the words that name it; the last such word of a name counts, unless another noun follows."""
NOT_FREE = re.compile(
    r"wall|ceiling|hanging|pendant|chandelier|upper|street|park|air condition|stand$|rack$|hood$|lying|tennis"
)
LARGEST = (2.6, 2.6, 2.4)
SMALLEST = 0.3
"""Metres: the greatest width, depth and height, and the least of the longest side."""
FEWEST = 4
"""Models that a kind must have, so that both sides of the split have some."""


@dataclass(frozen=True, eq=False)
class Model:
    """One piece: `number` counts within the source, `size` is (width, depth, height) in metres."""

    number: int
    name: str
    kind: str
    size: tuple[float, float, float]
    points: NDArray[np.float32]

    @property
    def standing(self) -> NDArray[np.float32]:
        """Points [N, 3] in metres: stretched to the true size, the middle of the base at the origin."""
        low, high = self.points.min(0), self.points.max(0)
        scaled = (self.points - low) / np.maximum(high - low, 1e-6) * self.size
        found: NDArray[np.float32] = (scaled - np.array([self.size[0] / 2, self.size[1] / 2, 0])).astype(
            np.float32
        )
        return found


def read(path: Path) -> tuple[list[Model], list[str]]:
    """The models of a source that can stand in a room and whose kind has enough of them, and a sentence on each bad record.

    Raises:
        ValueError: arrays are missing, or fewer than two kinds are left.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give an .npz of furniture or a clouds.jsonl")
    rows = _from_npz(path) if path.suffix == ".npz" else json_lines(path)
    found: dict[str, list[Model]] = defaultdict(list)
    problems = []
    for number, (where, record) in enumerate(rows):
        try:
            name, size, points = _checked(record, path.parent)
        except (ValueError, TypeError, OSError) as error:
            problems.append(f"{where}: {error}; left out")
            continue
        kind = kind_of(name)
        if kind and all(a <= b for a, b in zip(size, LARGEST, strict=True)) and max(size) >= SMALLEST:
            found[kind].append(Model(number, name, kind, size, points))
    kept = [model for kind in sorted(found) if len(found[kind]) >= FEWEST for model in found[kind]]
    if len({model.kind for model in kept}) < 2:
        raise ValueError(
            f"{path} has {len(kept)} models of {len({m.kind for m in kept})} kinds of furniture: "
            f"need two kinds with {FEWEST} models each{f' ({problems[0]})' if problems else ''}"
        )
    return kept, problems


def kind_of(name: str) -> str | None:
    """The kind that a name says, or None: "Oak chair" -> "chair"; "Chair with cushion" -> "chair"; "TV stand" -> None."""
    said = name.lower().strip()
    said = re.split(r" with | and |,", said)[0]
    if NOT_FREE.search(said):
        return None
    best: tuple[int, str] | None = None
    for kind, words in KINDS.items():
        for word in words:
            for match in re.finditer(rf"\b{word}\b", said):
                if best is None or match.end() > best[0]:
                    best = (match.end(), kind)
    return best[1] if best else None


def split(models: Sequence[Model], share: float) -> dict[str, list[Model]]:
    """{"train", "heldout"}: a share of each kind is held out, at least one; models of one kind and size stay together.

    Raises:
        ValueError: a side is empty.
    """
    out: dict[str, list[Model]] = {"train": [], "heldout": []}
    for kind in sorted({model.kind for model in models}):
        same: dict[tuple[float, ...], list[Model]] = defaultdict(list)
        for model in models:
            if model.kind == kind:
                same[tuple(round(value, 3) for value in model.size)].append(model)
        groups = sorted(
            same.values(), key=lambda group: hashlib.sha256(f"{kind}/{group[0].number}".encode()).digest()
        )
        held = max(1, round(share * len(groups))) if len(groups) > 1 else 0
        out["heldout"] += [model for group in groups[:held] for model in group]
        out["train"] += [model for group in groups[held:] for model in group]
    for side, some in out.items():
        if not some:
            raise ValueError(
                f"no model is left for the {side} rooms: models of one kind and size stay together, so give models of "
                "several sizes, or another --heldout"
            )
    return out


Row = tuple[str, Any]
"""Where a record stands, for messages, and the record: an object with a name, a size_cm, and points or a cloud's file."""


def _from_npz(path: Path) -> Iterator[Row]:
    data = io.arrays(path)
    columns = ("points", "name", "size_cm")
    missing = [name for name in columns if name not in data]
    if missing:
        raise ValueError(f"{path} has no array {missing[0]!r}: furniture needs points, name and size_cm")
    shapes = [data[name].shape for name in columns]
    if not all(shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"{path} has points, name and size_cm of shapes {shapes}: give one of each a model")
    for number in range(shapes[0][0]):
        points, name, size = (data[column][number] for column in columns)
        yield f"{path.name}, record {number}", {"points": points, "name": str(name), "size_cm": size.tolist()}


def _checked(record: Any, root: Path) -> tuple[str, tuple[float, float, float], NDArray[np.float32]]:
    """Name, size in metres and points [N, 3] of a record.

    Raises:
        TypeError, ValueError, OSError: a part that is missing or none; says which.
    """
    if not isinstance(record, dict):
        raise ValueError(f"{str(record)[:40]!r} is not an object with named fields")
    name, file = record.get("name"), record.get("cloud")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"its 'name' is {name!r:.60} and not a text")
    if "points" in record:
        points = io.as_cloud(record["points"])
    elif isinstance(file, dict) and isinstance(file.get("file"), str):
        points = io.load(root / file["file"])[:, :3]
    else:
        raise ValueError(f"its 'cloud' is {file!r:.60} and not {{\"file\": PATH}}")
    if not float((points.amax(0) - points.amin(0)).max()) > 0:
        raise ValueError(f"all its {len(points)} points are in one place")
    return name, _metres(record.get("size_cm")), points.numpy()


def _metres(size: Any) -> tuple[float, float, float]:
    try:
        width, depth, height = (float(value) / 100 for value in size)
    except (TypeError, ValueError):
        raise ValueError(f"its 'size_cm' is {size!r:.60} and not width, depth and height") from None
    if not all(0 < value < math.inf for value in (width, depth, height)):
        raise ValueError(f"its 'size_cm' is {size!r:.60}: give positive lengths in centimetres")
    return width, depth, height
