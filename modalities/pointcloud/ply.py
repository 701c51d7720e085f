"""PLY files (Turk, The PLY polygon file format, 1994): points and faces, ascii and binary, no library.

Reads `format ascii`, `binary_little_endian` and `binary_big_endian` 1.0 with any elements and properties, and
gives back the vertices' x, y, z, their red, green, blue if there are any, and the faces; writes x, y, z as floats and
colours as bytes, which is what other programs expect. The rest is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
COLOURS = ("red", "green", "blue")
LONGEST_HEADER = 65_536
END = re.compile(rb"^end_header[ \t\r]*\n", re.MULTILINE)  # a comment may hold the word, too


class Property(NamedTuple):
    """One column: a scalar, or a list whose length comes first (`length` is then that number's type)."""

    name: str
    type: str
    length: str = ""


class Element(NamedTuple):
    """A table of a file: "vertex", "face", ..."""

    name: str
    rows: int
    properties: list[Property]


class Ply(NamedTuple):
    """Vertices float64 [n, 3], or [n, 6] with colours, and faces as lists of vertex numbers (empty for a cloud).

    Colours of an integer type are divided by its largest value; those of a float type are as they stand.
    """

    vertices: NDArray[np.float64]
    faces: list[NDArray[np.int64]]


def read_ply(data: bytes) -> Ply:
    """Parse a PLY file.

    Raises:
        ValueError: not a PLY file, cut short, or without x, y, z; says which.
    """
    order, elements, body = _header(data)
    try:
        tables = _ascii(body, elements) if order == "ascii" else _binary(body, elements, order)
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"PLY body does not fit its header ({error}): the file is damaged or cut short"
        ) from error
    columns = tables.get("vertex", {})
    if not {"x", "y", "z"} <= columns.keys():
        raise ValueError(f"PLY has no vertex x, y, z (vertex has: {', '.join(columns) or 'nothing'})")
    axes = [np.asarray(columns[axis], dtype=np.float64) for axis in "xyz"]
    if set(COLOURS) <= columns.keys():
        kinds = {
            each.name: np.dtype(each.type)
            for one in elements
            if one.name == "vertex"
            for each in one.properties
        }
        for name in COLOURS:
            top = np.iinfo(kinds[name]).max if kinds[name].kind in "iu" else 1
            axes.append(np.asarray(columns[name], dtype=np.float64) / top)
    vertices = np.stack(axes, axis=1)
    face = tables.get("face", {})
    corners = face.get("vertex_indices", face.get("vertex_index", []))
    return Ply(vertices, [np.asarray(corner, dtype=np.int64) for corner in corners])


def write_ply(points: NDArray[np.float32], *, ascii: bool = False) -> bytes:
    """Points float32 [n, 3], or [n, 6] with colours in [0, 1], as a PLY file; binary little endian, or ascii.

    Both keep every bit of the coordinates; colours are rounded to bytes.
    """
    form = "ascii" if ascii else "binary_little_endian"
    head = f"ply\nformat {form} 1.0\nelement vertex {len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    if points.shape[1] == 6:
        head += "".join(f"property uchar {name}\n" for name in COLOURS)
    head += "end_header\n"
    shades = (points[:, 3:] * 255).round().astype(np.uint8)
    if ascii:
        lines = (
            " ".join([*(np.format_float_positional(v, unique=True, trim="-") for v in row), *map(str, shade)])
            for row, shade in zip(points[:, :3], shades, strict=True)
        )
        return (head + "".join(line + "\n" for line in lines)).encode("ascii")
    rows = np.empty(len(points), dtype=[("place", "<f4", 3), ("shade", "u1", points.shape[1] - 3)])
    rows["place"], rows["shade"] = points[:, :3], shades
    return head.encode("ascii") + rows.tobytes()


def _header(data: bytes) -> tuple[str, list[Element], bytes]:
    """Byte order ("ascii", "<", ">"), elements, and what follows the header."""
    if not data.startswith(b"ply"):
        raise ValueError(f"not a PLY file: it starts with {data[:8]!r} and not with b'ply'")
    end = END.search(data, 0, LONGEST_HEADER)
    if end is None:
        raise ValueError("PLY header has no end_header line: the file is damaged or cut short")
    order, elements = "", list[Element]()
    for line in data[: end.start()].decode("ascii", errors="replace").splitlines():
        match line.split():
            case ["format", form, _]:
                order = {"ascii": "ascii", "binary_little_endian": "<", "binary_big_endian": ">"}.get(
                    form, ""
                )
            case ["element", name, rows] if rows.isdigit():
                elements.append(Element(name, int(rows), []))
            case ["property", "list", count, kind, name] if elements and {count, kind} <= TYPES.keys():
                elements[-1].properties.append(Property(name, TYPES[kind], TYPES[count]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append(Property(name, TYPES[kind]))
            case ["ply"] | ["comment", *_] | ["obj_info", *_] | []:
                pass
            case _:
                raise ValueError(f"PLY header line {line!r} is not understood")
    if not order:
        raise ValueError(
            "PLY header names no known format: ascii, binary_little_endian or binary_big_endian 1.0"
        )
    return order, elements, data[end.end() :]


Table = dict[str, Sequence[object] | NDArray[np.generic]]


def _ascii(body: bytes, elements: list[Element]) -> dict[str, Table]:
    words, at = body.split(), 0
    tables: dict[str, Table] = {}
    for element in elements:
        names = [each.name for each in element.properties]
        width = len(names)
        if not any(each.length for each in element.properties):
            block = words[at : at + element.rows * width]
            if len(block) < element.rows * width:
                raise ValueError(f"{element.rows} rows of {element.name} promised")
            rows = np.array(block, dtype=np.float64).reshape(element.rows, width)
            tables[element.name] = {name: rows[:, i] for i, name in enumerate(names)}
            at += element.rows * width
            continue
        lists: dict[str, list[object]] = {name: [] for name in names}
        for _ in range(element.rows):
            for each in element.properties:
                size = _size(int(words[at])) if each.length else 1
                at += bool(each.length)
                values = [float(word) for word in words[at : at + size]]
                if len(values) < size:
                    raise ValueError(f"{element.rows} rows of {element.name} promised")
                lists[each.name].append(values if each.length else values[0])
                at += size
        tables[element.name] = dict(lists)
    return tables


def _size(count: int) -> int:
    """The length of a list; a negative one would send the reader back."""
    if count < 0:
        raise ValueError(f"a list of {count} values")
    return count


def _binary(body: bytes, elements: list[Element], order: str) -> dict[str, Table]:
    at = 0
    tables: dict[str, Table] = {}
    for element in elements:
        if not any(each.length for each in element.properties):
            kind = np.dtype([(each.name, order + each.type) for each in element.properties])
            rows = np.frombuffer(body, dtype=kind, count=element.rows, offset=at)
            tables[element.name] = {each.name: rows[each.name] for each in element.properties}
            at += element.rows * kind.itemsize
            continue
        lists: dict[str, list[object]] = {each.name: [] for each in element.properties}
        for _ in range(element.rows):
            for each in element.properties:
                size = 1
                if each.length:
                    count = np.dtype(order + each.length)
                    size = _size(int(np.frombuffer(body, dtype=count, count=1, offset=at)[0]))
                    at += count.itemsize
                kind = np.dtype(order + each.type)
                values = np.frombuffer(body, dtype=kind, count=size, offset=at) if size else np.zeros(0, kind)
                lists[each.name].append(values if each.length else values[0])
                at += size * kind.itemsize
        tables[element.name] = dict(lists)
    return tables
