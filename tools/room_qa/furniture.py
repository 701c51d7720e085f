"""Furniture that can stand in a room: points, true size, and what kind of thing its name says it is.

Sources are the 310 models that ship (recipes/demo/clouds.jsonl) or an .npz with `points` [n, N, 3] (z up, any unit),
`name` and `size_cm` [n, 3] (width, depth, height).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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


def read(path: Path) -> list[Model]:
    """The models of a source that can stand in a room and whose kind has enough of them.

    Raises:
        ValueError: arrays or fields are missing, or fewer than two kinds are left.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give an .npz of furniture or a clouds.jsonl")
    rows = _from_npz(path) if path.suffix == ".npz" else _from_records(path)
    found: dict[str, list[Model]] = defaultdict(list)
    for number, (name, size, points) in enumerate(rows):
        kind = kind_of(name)
        if kind and all(a <= b for a, b in zip(size, LARGEST, strict=True)) and max(size) >= SMALLEST:
            found[kind].append(Model(number, name, kind, size, points))
    kept = [model for kind in sorted(found) if len(found[kind]) >= FEWEST for model in found[kind]]
    if len({model.kind for model in kept}) < 2:
        raise ValueError(
            f"{path} has {len(kept)} models of {len({m.kind for m in kept})} kinds of furniture: "
            f"need two kinds with {FEWEST} models each"
        )
    return kept


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
    """{"train", "heldout"}: a share of each kind is held out, at least one; models of one kind and size stay together."""
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
    return out


Row = tuple[str, tuple[float, float, float], NDArray[np.float32]]


def _from_npz(path: Path) -> Iterator[Row]:
    data = np.load(path, allow_pickle=False)
    missing = [name for name in ("points", "name", "size_cm") if name not in data.files]
    if missing:
        raise ValueError(f"{path} has no array {missing[0]!r}: furniture needs points, name and size_cm")
    for points, name, size in zip(data["points"], data["name"], data["size_cm"], strict=True):
        yield str(name), _metres(size), points.astype(np.float32)


def _from_records(path: Path) -> Iterator[Row]:
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        points = np.load(path.parent / record["cloud"]["file"], allow_pickle=False)["points"]
        yield record["name"], _metres(record["size_cm"]), points.astype(np.float32)


def _metres(size: Sequence[float]) -> tuple[float, float, float]:
    width, depth, height = (float(value) / 100 for value in size)
    return width, depth, height
