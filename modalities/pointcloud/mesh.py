"""Triangle meshes as clouds: OBJ files, and points spread over a surface by area."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLES = 2048
"""Points that a mesh becomes."""


def read_obj(data: bytes) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Vertices [n, 3] and faces of an OBJ file; negative face numbers count from the end, as the format says.

    Raises:
        ValueError: a line with a bad number, named.
    """
    vertices: list[list[float]] = []
    faces: list[NDArray[np.int64]] = []
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        word, *rest = line.split() or [""]
        try:
            if word == "v":
                vertices.append([float(value) for value in rest[:3]])
            elif word == "f":
                corners = [int(corner.split("/")[0]) for corner in rest]
                faces.append(
                    np.array([c - 1 if c > 0 else len(vertices) + c for c in corners], dtype=np.int64)
                )
        except ValueError as error:
            raise ValueError(f"OBJ line {number} {line[:40]!r} is not understood ({error})") from error
        if word == "v" and len(rest) < 3:
            raise ValueError(f"OBJ line {number} {line[:40]!r}: a vertex needs three numbers")
    return np.array(vertices, dtype=np.float64).reshape(-1, 3), faces


def spread(
    vertices: NDArray[np.float64], faces: Sequence[NDArray[np.int64]], count: int = SAMPLES
) -> NDArray[np.float64]:
    """`count` points [count, 3] over the faces by area; always the same ones.

    Faces of more than three corners are cut into a fan. Which triangle: even steps through the summed area;
    where in it: the R2 sequence (Roberts, 2018), which leaves no gaps.

    Raises:
        ValueError: a face names a vertex that is not there, or all faces are without area.
    """
    fans = [np.array([face[0], face[i], face[i + 1]]) for face in faces for i in range(1, len(face) - 1)]
    if not fans:
        raise ValueError(
            "the mesh has no face of three corners: give its points as .xyz or .ply without faces"
        )
    corners = np.stack(fans)
    if corners.min() < 0 or corners.max() >= len(vertices):
        raise ValueError(
            f"a face names vertex {corners.max() + 1 if corners.max() >= len(vertices) else corners.min()}, "
            f"but the mesh has {len(vertices)}"
        )
    a, b, c = (vertices[corners[:, i]] for i in range(3))
    total = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)
    if not np.isfinite(total[-1]) or total[-1] <= 0:
        raise ValueError(f"the mesh's faces have the total area {total[-1]}: it must be positive and finite")
    step = np.arange(count) + 0.5
    which = np.minimum(np.searchsorted(total, step / count * total[-1], side="right"), len(total) - 1)
    u, v = (0.5 + step * 0.7548776662466927) % 1, (0.5 + step * 0.5698402909980532) % 1
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u)[:, None], np.where(flip, 1 - v, v)[:, None]
    points: NDArray[np.float64] = a[which] + u * (b - a)[which] + v * (c - a)[which]
    return points
