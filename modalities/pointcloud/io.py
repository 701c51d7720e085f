"""Clouds from and to files: .ply, .xyz, .npy, .npz, .obj and .off by own readers, other formats through open3d.

A cloud is a float32 tensor [n, 3], n >= 1, all finite. Meshes (.off, .obj and .ply with faces) become
points spread over their surface. open3d is imported only when a format needs it.

What is read from .ply, .obj, .npy and .npz has six columns if the file has colours: in .ply red, green and blue, in .obj
three more numbers of each vertex, in arrays columns four to six that all lie in [0, 1]. Normals and other columns are
dropped, as are the colours of the other formats.
"""

from __future__ import annotations

import io as streams
import re
import tempfile
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .mesh import read_obj, read_off, spread
from .ply import read_ply, write_ply

if TYPE_CHECKING:
    from types import ModuleType

OWN = (".ply", ".xyz", ".npy", ".npz", ".obj")
"""What is written, too."""
OPEN3D = (".pcd", ".pts", ".stl")
SUFFIXES = (*OWN, ".off", *OPEN3D)
ARRAY = "points"
"""Name of the array in an .npz; if it is missing, an only array is taken."""
DECIMAL_COMMAS = re.compile(r"\s*[-+]?\d+,\d+(?:[;\s]+[-+]?\d+,\d+){2,}\s*$")
DAMAGE = (
    ValueError, EOFError, KeyError, AttributeError, TypeError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
    tokenize.TokenError,
)  # fmt: skip
"""What numpy raises where an .npy or .npz is none, is packed or encrypted in another way, or has flipped bytes."""


def as_cloud(item: Any, rgb: bool = False) -> Tensor:
    """A tensor, array or nested list as a cloud: float32 [n, 3], checked; with `rgb` [n, 6], colours in [0, 1].

    Raises:
        TypeError: not numbers.
        ValueError: wrong shape, no points, a coordinate that is not finite, or a colour out of range; says which.
    """
    if isinstance(item, str | bytes | Path):
        raise TypeError(
            f"{str(item)[:60]!r} is not a cloud: load() files first, encode() takes points [n, 3]"
        )
    try:
        points = (
            item.detach().cpu() if isinstance(item, Tensor) else torch.as_tensor(_plain(np.asarray(item)))
        )
    except (TypeError, ValueError) as error:
        raise TypeError(f"a {type(item).__name__} is not a cloud: give numbers of shape [n, 3]") from error
    if points.dim() != 2 or points.shape[1] < 3 or points.is_complex():
        raise ValueError(f"a cloud of shape {list(points.shape)} {points.dtype}: give real numbers [n, 3]")
    if rgb and points.shape[1] < 6:
        raise ValueError(f"a cloud of shape {list(points.shape)}: colours are asked for, so give [n, 6]")
    points = points[:, : 6 if rgb else 3].float()
    if len(points) == 0:
        raise ValueError("a cloud without points: give at least one")
    bad = (~points.isfinite()).any(1).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(points)} points are not finite (the first is point {int(bad[0])}: "
            f"{points[bad[0]].tolist()}): remove them"
        )
    if rgb and not 0 <= float(points[:, 3:].min()) <= float(points[:, 3:].max()) <= 1:
        raise ValueError(
            f"colours from {float(points[:, 3:].min()):g} to {float(points[:, 3:].max()):g}: give them in [0, 1]"
        )
    return points


def painted(item: Any) -> Tensor:
    """As `as_cloud`: [n, 6] where columns four to six are colours, which means that all lie in [0, 1], else [n, 3].

    Raises:
        TypeError, ValueError: as `as_cloud` without colours.
    """
    try:
        return as_cloud(item, rgb=True)
    except ValueError:
        return as_cloud(item)


def read(data: bytes, suffix: str) -> Tensor:
    """A file's bytes as a cloud [n, 3], or [n, 6] with colours.

    Raises:
        ValueError: damaged, empty, not finite, or an unknown suffix.
        ImportError: the format needs open3d, which cannot be imported; says what to install.
    """
    if suffix == ".ply":
        vertices, faces = read_ply(data)
        return painted(spread(vertices, faces) if faces else vertices)
    if suffix in (".obj", ".off"):
        vertices, faces = read_obj(data) if suffix == ".obj" else read_off(data)
        return painted(spread(vertices, faces) if faces else vertices)
    if suffix == ".xyz":
        return as_cloud(_read_text(data))
    if suffix in (".npy", ".npz"):
        return painted(_read_numpy(data, suffix))
    if suffix in OPEN3D:
        return as_cloud(_read_open3d(data, suffix))
    raise ValueError(f"a cloud cannot be read from {suffix!r}: use one of {', '.join(SUFFIXES)}")


def load(path: str | Path) -> Tensor:
    """A file as a cloud; see `read`."""
    path = Path(path)
    try:
        return read(path.read_bytes(), path.suffix.lower())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write(points: Tensor, suffix: str) -> bytes:
    """A cloud [n, 3] or [n, 6] as a file that `read` gives back bit for bit (.obj: as bare vertices).

    Colours are rounded to bytes in .ply and left out of .xyz.

    Raises:
        ValueError: a suffix that is not written here.
    """
    array: NDArray[np.float32] = painted(points).numpy()
    if suffix == ".ply":
        return write_ply(array)
    if suffix in (".xyz", ".obj"):
        head, array = ("v ", array) if suffix == ".obj" else ("", array[:, :3])
        return "".join(head + " ".join(map(_shortest, row)) + "\n" for row in array).encode("ascii")
    if suffix in (".npy", ".npz"):
        stream = streams.BytesIO()
        if suffix == ".npy":
            np.save(stream, array, allow_pickle=False)
        else:
            np.savez_compressed(stream, points=array)
        return stream.getvalue()
    raise ValueError(f"a cloud cannot be written as {suffix!r}: use one of {', '.join(OWN)}")


def arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz, by name.

    Raises:
        ValueError: not a readable .npz; the file is named.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it is one array without a name, an .npy")
        with file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except (*DAMAGE, OSError) as error:
        raise ValueError(f"{path} is not a readable .npz of plain numbers ({error})") from error


def checked_stack(found: NDArray[Any], where: str) -> Tensor:
    """An array of many clouds of equal size [n, N, 3], or [n, N, 6] with colours, as a tensor, float16 or float32.

    Raises:
        ValueError: another shape, a coordinate that is not finite, or a colour outside [0, 1], whose cloud is named.
    """
    if (
        found.ndim != 3
        or found.shape[2] not in (3, 6)
        or 0 in found.shape
        or not np.issubdtype(found.dtype, np.number)
    ):
        raise ValueError(
            f"{where} has shape {list(found.shape)} {found.dtype}: need numbers [n, N, 3] or [n, N, 6]"
        )
    bad = ~np.isfinite(found).all((1, 2))
    if bad.any():
        raise ValueError(f"{where}: cloud {int(bad.argmax())} is not finite: remove it")
    bad = ((found[:, :, 3:] < 0) | (found[:, :, 3:] > 1)).any((1, 2))
    if bad.any():
        raise ValueError(f"{where}: cloud {int(bad.argmax())} has colours outside [0, 1]: scale them")
    return torch.from_numpy(found if found.dtype == np.float16 else found.astype(np.float32))


def checked_labels(found: NDArray[Any], count: int, where: str, classes: int = 0) -> NDArray[np.int64]:
    """Numbers of classes int64 [count], of an array [count] or [count, 1].

    Args:
        classes: how many there are; 0: it is not known.

    Raises:
        ValueError: another shape, or a label that is no whole number from 0, or too large; the record is named.
    """
    labels = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
    if labels.shape != (count,):
        raise ValueError(f"{where} has {count} clouds, but labels of shape {list(found.shape)}: one for each")
    if labels.dtype.kind not in "iufb":
        raise ValueError(f"{where} has labels of type {labels.dtype}: give each class a number, from 0")
    top = classes or np.iinfo(np.int64).max
    bad = ~((labels >= 0) & (labels < top) & (labels == np.floor(labels)))
    if bad.any():
        label, rule = labels[bad.argmax()], f"none of {classes} classes" if classes else "no number from 0"
        raise ValueError(f"{where}, record {int(bad.argmax())}: label {label} is {rule}")
    return labels.astype(np.int64)


def _plain(found: NDArray[Any]) -> NDArray[Any]:
    """Numbers as torch takes them: this machine's byte order, at most 64 bits, no steps backwards."""
    if found.dtype.kind == "f" and found.itemsize > 8:
        found = found.astype(np.float64)
    return np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("="))


def _shortest(value: np.float32) -> str:
    return np.format_float_positional(value, unique=True, trim="-")


def _read_text(data: bytes) -> ArrayLike:
    """Lines of three or more numbers, with spaces or commas between; blank lines and those with # are skipped."""
    rows: list[list[float]] = []
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), 1):
        if DECIMAL_COMMAS.match(line):
            raise ValueError(f"line {number} {line[:40]!r} has decimal commas: write points")
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            rows.append([float(word) for word in words[:3]])
        except ValueError:
            raise ValueError(f"line {number} {line[:40]!r} does not start with three numbers") from None
        if len(rows[-1]) < 3:
            raise ValueError(f"line {number} {line[:40]!r} has fewer than three numbers")
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _read_numpy(data: bytes, suffix: str) -> NDArray[Any]:
    try:
        found = np.load(streams.BytesIO(data), allow_pickle=False)
        if suffix == ".npz":
            names = found.files
            if ARRAY not in names and len(names) != 1:
                raise ValueError(f"it has the arrays {names}, none of them called {ARRAY!r}")
            found = found[ARRAY if ARRAY in names else names[0]]
    except (*DAMAGE, OSError) as error:
        raise ValueError(f"not a readable {suffix} of plain numbers ({error})") from error
    if not isinstance(found, np.ndarray) or not np.issubdtype(found.dtype, np.number):
        raise ValueError(f"not a readable {suffix} of plain numbers")
    return found


def import_open3d() -> ModuleType:
    """open3d, or an ImportError that says what to install."""
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise ImportError(
            "this format needs open3d, which is not installed: pip install 'unitok-lm[pointcloud]'"
        ) from error
    except (ImportError, OSError) as error:
        raise ImportError(
            f"open3d is installed but does not load ({error}): it needs the system package libusb-1.0-0 "
            "(apt-get install libusb-1.0-0)"
        ) from error
    return open3d


def _read_open3d(data: bytes, suffix: str) -> NDArray[np.float64]:
    """Points, or points spread over a mesh; open3d answers damage with an empty cloud, never with an error."""
    open3d = import_open3d()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"cloud{suffix}"
        path.write_bytes(data)
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            if suffix == ".stl":
                mesh = open3d.io.read_triangle_mesh(str(path))
                vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.triangles, dtype=np.int64)
                if len(vertices) and len(faces):
                    return spread(vertices, list(faces))
            else:
                vertices = np.asarray(open3d.io.read_point_cloud(str(path)).points)
    if len(vertices) == 0:
        raise ValueError(f"open3d finds no points in this {suffix}: the file is damaged or empty")
    return vertices
