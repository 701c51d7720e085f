"""Point clouds of furniture: 310 meshes of two free Sweet Home 3D catalogs, sampled, with true sizes in words.

A cloud is float16 [1024, 3] in out/clouds/NNN.npz under "points": uniform over the surface, z up, centred,
largest radius 1, rounded to 1/128 (which deflates to 4 KB; two samplings of one object differ by five times
that). Sizes are centimetres: width, depth, height.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo_data.common import Record, article, chance, sentence, split
from demo_data.packages import Packages, members

PACKAGE, POINTS, GRID = "sweethome3d-furniture", 1024, 128
CATALOGS = {"BlendSwap-CC-0": "CC0-1.0", "BlendSwap-CC-BY": "CC-BY-3.0"}
SENTENCES = 6
PLACES = {
    "Living room": "for the living room", "Kitchen": "for the kitchen", "Bedroom": "for the bedroom",
    "Bathroom": "for the bathroom", "Office": "for the office", "Exterior": "for outdoors",
    "Lights": "that gives light", "Miscellaneous": "of no special room", "Vehicles": "to ride in",
    "Staircases": "to climb", "Characters": "from the animal world",
}  # fmt: skip


def build(packages: Packages, out: Path) -> list[Record]:
    """Write out/clouds/*.npz and give their records; the index counts through the catalogs."""
    folder = out / "clouds"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = tuple(f"{name}.sh3f" for name in CATALOGS)
    files = dict(members(packages.file("debian", PACKAGE), lambda name: name.endswith(wanted)))
    catalogs = {name.rpartition("/")[2].removesuffix(".sh3f"): data for name, data in files.items()}
    records: list[Record] = []
    for catalog, licence in CATALOGS.items():
        with zipfile.ZipFile(io.BytesIO(catalogs[catalog])) as archive:
            for item in _items(archive.read("PluginFurnitureCatalog.properties").decode("latin-1")):
                index = len(records)
                obj = archive.read(item["model"].lstrip("/")).decode("latin-1")
                points = normal(sample(*_mesh(obj), POINTS, np.random.default_rng(index)))
                np.savez_compressed(folder / f"{index:03d}.npz", points=points)
                records.append(_record(index, item, catalog, licence))
    return records


def _items(properties: str) -> list[dict[str, str]]:
    """The numbered entries of a catalog: name, category, model, width, depth, height, creator."""
    items: dict[int, dict[str, str]] = {}
    for line in properties.splitlines():
        found = re.match(r"(\w+)#(\d+)=(.*)", line)
        if found:
            value = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), found[3]).strip()
            items.setdefault(int(found[2]), {})[found[1]] = value
    return [items[number] for number in sorted(items)]


def _mesh(obj: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices [v, 3] and triangles [f, 3] of an OBJ file; a polygon becomes a fan."""
    vertices, triangles = [], []
    for line in obj.splitlines():
        fields = line.split()
        if not fields:
            continue
        if fields[0] == "v":
            vertices.append([float(value) for value in fields[1:4]])
        elif fields[0] == "f":
            corners = [int(corner.split("/")[0]) for corner in fields[1:]]
            corners = [corner - 1 if corner > 0 else len(vertices) + corner for corner in corners]
            triangles += [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]
    return np.array(vertices), np.array(triangles)


def sample(
    vertices: NDArray[np.float64], triangles: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Points [count, 3] spread uniformly over the triangles by area."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(area), count, p=area / area.sum())
    u, v = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - u) * a[chosen] + u * (1 - v) * b[chosen] + u * v * c[chosen]


def normal(points: NDArray[np.float64]) -> NDArray[np.float16]:
    """y up -> z up, centred on the mean, largest radius 1, rounded to 1/128."""
    turned = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)
    centred = turned - turned.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1).max()
    return (np.round(unit * GRID) / GRID).astype(np.float16)


def _record(index: int, item: dict[str, str], catalog: str, licence: str) -> Record:
    size = [float(item[side]) for side in ("width", "depth", "height")]
    name, category = item["name"].strip(), item["category"]
    return {
        "key": f"furniture/{index}",
        "split": split(f"furniture/{index}"),
        "cloud": {"file": f"clouds/{index:03d}.npz"},
        "name": name,
        "category": category,
        "size_cm": size,
        "sentence": _sentences(index, name.lower() if name[1:].islower() else name, category, size),
        "creator": item.get("creator", "Blend Swap"),
        "source": f"Debian {PACKAGE} {catalog}",
        "license": licence,
    }


def _sentences(index: int, name: str, category: str, size: list[float]) -> list[str]:
    """The plain name, then forms with category, size and proportions."""
    width, depth, height = (_length(value) for value in size)
    thing, place = article(name), PLACES[category]
    forms = [
        f"{thing}, {width} wide, {depth} deep and {height} high",
        f"{thing} {place}",
        f"{category.lower()}: {name}, {height} high",
        f"{thing}, {proportions(size)}",
        f"{thing} {place}, {proportions(size)}, {max(size):.0f} cm at the longest"
        if max(size) >= 10
        else f"{thing} {place}, small enough for a hand",
        f"{proportions(size)}, {width} wide: {name}",
    ]
    return [sentence(text) for text in (thing, *chance(f"furniture/{index}").sample(forms, SENTENCES - 1))]


def proportions(size: list[float]) -> str:
    """Proportions of width, depth and height in words: "flat and wide", "tall and thin", "compact"..."""
    width, depth, height = (max(value, 1e-3) for value in size)
    long, broad = max(width, depth), min(width, depth)
    if height < long / 4:
        return "flat and long" if broad < long / 2 else "flat and wide"
    if height > 2 * long:
        return "tall and thin"
    if broad < min(long, height) / 3:
        return "wide but not deep" if depth < width else "deep but not wide"
    if height > 1.25 * long:
        return "taller than wide"
    return "compact" if long < 1.6 * broad else "longer than it is deep"


def _length(centimetres: float) -> str:
    """ "62 cm", "2.1 m" or "8 mm"."""
    if centimetres >= 200:
        return f"{centimetres / 100:.1f} m"
    return f"{centimetres:.0f} cm" if centimetres >= 1 else f"{10 * centimetres:.0f} mm"
