"""Labelled clouds from the files that users have: arrays, ScanObjectNN's HDF5, ModelNet's folders.

    found = read_labelled(Path("modelnet10.npz"))
    found.train.points [n, N, 3], found.train.labels [n], found.test, found.names

| what | layout |
|---|---|
| .npz | points_train, label_train, points_test, label_test, names |
| .h5 and a second one for the test | data [n, N, 3], label [n] or [n, 1] (ScanObjectNN, modelnet40_ply_hdf5_2048) |
| folder with NAME_shape_names.txt | NAME_train.txt, NAME_test.txt and CLASS/OBJECT.txt (modelnet40_normal_resampled) |
| any other folder | CLASS/train/*, CLASS/test/* with files that `modalities.pointcloud.io` reads (ModelNet40 as .off) |

Points come out in the unit sphere. Every mistake names its file, and the record where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import io
from ..sample import stride, unit_sphere

ARRAYS = ("points_train", "label_train", "points_test", "label_test", "names")


class Part(NamedTuple):
    """Clouds float32 [n, N, 3] in the unit sphere, and the number of each one's class, int64 [n]."""

    points: Tensor
    labels: Tensor


class Labelled(NamedTuple):
    """A data set with its official division."""

    train: Part
    test: Part
    names: tuple[str, ...]


def read_labelled(train: Path, test: Path | None = None, *, points: int = 1024) -> Labelled:
    """Read a data set.

    Args:
        train: an .npz, an .h5 or a folder.
        test: the second .h5.
        points: that are wanted of each cloud; files with fewer are refused, those of a folder are thinned to as many.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: names the file, the record and what is wrong with it.
        ModuleNotFoundError: .h5 files need h5py.
    """
    if not train.exists():
        raise FileNotFoundError(f"{train}: no such file or folder of labelled clouds")
    if train.suffix in (".h5", ".hdf5"):
        if test is None:
            raise ValueError(f"{train} has one part of the data: name the other with data.test")
        parts = [_h5(path) for path in (train, test)]
        classes = 1 + max(int(labels.max(initial=-1)) for _, labels in parts)
        if classes > sum(
            len(labels) for _, labels in parts
        ):  # a damaged label would make millions of classes
            raise ValueError(
                f"{train} and {test} have labels up to {classes - 1} and fewer clouds: number the classes from 0 on"
            )
        names = tuple(map(str, range(classes)))
        found = [
            _part(p, y, len(names), path, points) for (p, y), path in zip(parts, (train, test), strict=True)
        ]
    elif train.suffix == ".npz":
        arrays = _npz(train)
        names = tuple(map(str, arrays["names"]))
        found = [
            _part(
                arrays[f"points_{part}"], arrays[f"label_{part}"], len(names), train, points, f"points_{part}"
            )
            for part in ("train", "test")
        ]
    elif train.is_dir():
        names, files = _listed(train)
        found = [_loaded(files[part], len(names), train, part, points) for part in ("train", "test")]
    else:
        raise ValueError(
            f"{train}: labelled clouds are read from .npz, .h5 and folders, not from {train.suffix!r}"
        )
    return Labelled(*found, names)


def _part(
    clouds: NDArray[Any], labels: NDArray[Any], classes: int, path: Path, points: int, name: str = "data"
) -> Part:
    """Check one part and put its clouds into the unit sphere."""
    where = f"{path}: {name}"
    if clouds.dtype.kind not in "iuf" or clouds.ndim != 3 or clouds.shape[2] < 3 or not len(clouds):
        raise ValueError(
            f"{where} has shape {list(clouds.shape)} {clouds.dtype}: need numbers of at least one cloud, [n, N, 3]"
        )
    if clouds.shape[1] < points:
        raise ValueError(
            f"{where} has clouds of {clouds.shape[1]} points, {points} are wanted: lower data.points"
        )
    numbers = io.checked_labels(labels, len(clouds), where, classes)
    tensor = torch.from_numpy(np.ascontiguousarray(clouds[:, :, :3], dtype=np.float32))
    bad = (~tensor.isfinite()).flatten(1).any(1).nonzero()
    if len(bad):
        raise ValueError(f"{where}, record {int(bad[0])}: a coordinate is not finite: remove the record")
    unit = unit_sphere(tensor)
    flat = (unit.radius.flatten() <= 0).nonzero()
    if len(flat):
        raise ValueError(
            f"{where}, record {int(flat[0])}: all its points are in one place: remove the record"
        )
    return Part(unit.points, torch.from_numpy(numbers))


def _npz(path: Path) -> Mapping[str, NDArray[Any]]:
    found = io.arrays(path)
    missing = [name for name in ARRAYS if name not in found]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it has {', '.join(found) or 'nothing'}")
    if found["names"].ndim != 1 or not len(found["names"]):
        raise ValueError(f"{path}: names has shape {list(found['names'].shape)}: need a name for each class")
    return found


def _h5(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Clouds and labels of an HDF5 file."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} needs h5py, which is not installed: pip install 'unitok-lm[pointcloud]'", name="h5py"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in ("data", "label") if not isinstance(file.get(name), h5py.Dataset)]
            if missing:
                raise ValueError(f"{path} lacks {', '.join(missing)}: it has {', '.join(file) or 'nothing'}")
            clouds, labels = np.asarray(file["data"]), np.asarray(file["label"])
            return clouds, io.checked_labels(labels, len(clouds) if clouds.ndim else 0, f"{path}: label")
    except OSError as error:
        raise ValueError(f"{path} is no readable HDF5 file ({error}): copy it again") from error


def _listed(folder: Path) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
    """Names of classes, and the files of each part with their classes."""
    lists = sorted(folder.glob("*_shape_names.txt"))
    if lists:
        stem = lists[0].name.removesuffix("_shape_names.txt")
        names = tuple(lists[0].read_text(encoding="utf-8").split())
        files = {part: _resampled(folder, f"{stem}_{part}.txt", names) for part in ("train", "test")}
        return names, files
    names = tuple(sorted(each.parent.name for each in folder.glob("*/train") if each.is_dir()))
    if not names:
        raise ValueError(
            f"{folder} has neither CLASS/train folders nor a list NAME_shape_names.txt: is it a data set?"
        )
    return names, {
        part: [
            (path, number)
            for number, name in enumerate(names)
            for path in sorted((folder / name / part).glob("*"))
            if path.suffix.lower() in io.SUFFIXES
        ]
        for part in ("train", "test")
    }


def _resampled(folder: Path, name: str, names: Sequence[str]) -> list[tuple[Path, int]]:
    """Files of a list of ModelNet: one object a line, such as night_stand_0001 of the class night_stand."""
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of objects")
    found = []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if text.strip():
            kind = text.strip().rpartition("_")[0]
            if kind not in names:
                raise ValueError(f"{path}, line {line}: {text.strip()!r} is of no class of {len(names)}")
            found.append((folder / kind / f"{text.strip()}.txt", names.index(kind)))
    return found


def _loaded(files: Sequence[tuple[Path, int]], classes: int, folder: Path, part: str, points: int) -> Part:
    """Read files one by one; longer clouds are thinned evenly."""
    if not files:
        raise ValueError(f"{folder} has no files to {part}: look for CLASS/{part} or the list")
    clouds = []
    for path, _ in files:
        if path.suffix == ".txt":
            try:
                cloud = io.read(path.read_bytes(), ".xyz")
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        else:
            cloud = io.load(path)[:, :3]
        if len(cloud) < points:
            raise ValueError(f"{path} has {len(cloud)} points, {points} are wanted: lower data.points")
        if bool((cloud == cloud[0]).all()):
            raise ValueError(f"{path}: all its points are in one place: remove the file")
        clouds.append(
            cloud[:points] if path.suffix == ".txt" else stride(cloud, points)
        )  # .txt: farthest first
    labels = np.array([label for _, label in files], dtype=np.int64)
    return _part(torch.stack(clouds).numpy(), labels, classes, folder, points, part)
