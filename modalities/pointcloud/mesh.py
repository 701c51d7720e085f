"""Triangle meshes as clouds: OBJ and OFF files, and points spread over a surface by area."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

OFF = re.compile(r"^(?:ST)?C?N?OFF(?=\s|\d|$)\s*(.*)$")
SAMPLES = 2048
"""Points that a mesh becomes."""


def read_obj(data: bytes) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Vertices [n, 3] and faces of an OBJ file; negative face numbers count from the end, as the format says.

    Vertices are [n, 6] if each has six numbers, of which the last three are its colour.

    Raises:
        ValueError: a line with a bad number, named.
    """
    vertices: list[list[float]] = []
    faces: list[NDArray[np.int64]] = []
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), 1):
        word, *rest = line.split() or [""]
        try:
            if word == "v":
                vertices.append([float(value) for value in (rest if len(rest) == 6 else rest[:3])])
            elif word == "f":
                corners = [int(corner.split("/")[0]) for corner in rest]
                faces.append(
                    np.array([c - 1 if c > 0 else len(vertices) + c for c in corners], dtype=np.int64)
                )
        except ValueError as error:
            raise ValueError(f"OBJ line {number} {line[:40]!r} is not understood ({error})") from error
        if word == "v" and len(rest) < 3:
            raise ValueError(f"OBJ line {number} {line[:40]!r}: a vertex needs three numbers")
    width = min(map(len, vertices), default=3)
    return np.array([row[:width] for row in vertices], dtype=np.float64).reshape(-1, width), faces


def read_off(data: bytes) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Vertices [n, 3] and faces of an OFF file (Geomview); what stands behind them, such as colours, is skipped.

    Takes `OFF` and its variants with more columns (COFF, NOFF, STOFF), counts on the first line or, as in ModelNet,
    behind the word without a space, and `#` comments.

    Raises:
        ValueError: not an OFF file, cut short, or a line with a bad number, named.
    """
    text = data.decode("utf-8-sig", errors="replace").splitlines()
    lines = [(n, each) for n, line in enumerate(text, 1) if (each := line.partition("#")[0].strip())]
    head = OFF.match(lines[0][1]) if lines else None
    if head is None:
        start = lines[0][1][:20] if lines else ""
        raise ValueError(f"not an OFF file: it starts with {start!r} and not with 'OFF'")
    rest = lines[1:] if not head[1] else [(lines[0][0], head[1]), *lines[1:]]
    try:
        counts = [int(word) for word in rest[0][1].split()[:2]]
        vertex_count, face_count = counts
        if min(counts) < 0:
            raise ValueError
    except (IndexError, ValueError):
        raise ValueError("OFF header has no counts of vertices and faces: the file is damaged") from None
    body = rest[1:]
    if len(body) < vertex_count + face_count:
        raise ValueError(
            f"OFF promises {vertex_count} vertices and {face_count} faces but has {len(body)} lines: it is cut short"
        )
    vertices, faces = [], []
    for at, (number, line) in enumerate(body[: vertex_count + face_count]):
        words = line.split()
        try:
            if at < vertex_count:
                x, y, z = (float(word) for word in words[:3])
                vertices.append([x, y, z])
            else:
                size = int(words[0])
                if size < 1 or len(words) <= size:
                    raise ValueError(f"{size} corners promised")
                faces.append(np.array([int(word) for word in words[1 : size + 1]], dtype=np.int64))
        except ValueError as error:
            raise ValueError(f"OFF line {number} {line[:40]!r} is not understood ({error})") from error
    return np.array(vertices, dtype=np.float64).reshape(-1, 3), faces


def spread(
    vertices: NDArray[np.float64], faces: Sequence[NDArray[np.int64]], count: int = SAMPLES
) -> NDArray[np.float64]:
    """`count` points [count, 3] over the faces by area; always the same ones. Further columns are blended alike.

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
    total = np.cumsum(np.linalg.norm(np.cross((b - a)[:, :3], (c - a)[:, :3]), axis=1) / 2)
    if not np.isfinite(total[-1]) or total[-1] <= 0:
        raise ValueError(f"the mesh's faces have the total area {total[-1]}: it must be positive and finite")
    step = np.arange(count) + 0.5
    which = np.minimum(np.searchsorted(total, step / count * total[-1], side="right"), len(total) - 1)
    u, v = (0.5 + step * 0.7548776662466927) % 1, (0.5 + step * 0.5698402909980532) % 1
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u)[:, None], np.where(flip, 1 - v, v)[:, None]
    points: NDArray[np.float64] = a[which] + u * (b - a)[which] + v * (c - a)[which]
    return points
