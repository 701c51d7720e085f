"""Voxel grids as clouds, and files of them as training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modalities.pointcloud.data import CloudData, from_npz, split
from modalities.pointcloud.voxels import draw, faces, unpack
from tests.held import held


def box(*sides: int, at: int = 1) -> np.ndarray:
    grid = np.zeros((8, 8, 8), dtype=bool)
    grid[tuple(slice(at, at + side) for side in sides)] = True
    return grid


@pytest.fixture
def file(tmp_path: Path) -> Path:
    grids = [box(2, 3, 4, at=i % 3) for i in range(30)] + [np.zeros((8, 8, 8), bool)]
    grids += [box(1 + i % 5, 1 + i // 5, 2) for i in range(25)]
    packed = np.packbits(np.stack(grids).reshape(len(grids), -1), axis=1)
    labels = np.arange(len(grids)) % 3
    np.savez(tmp_path / "vox.npz", vox=packed, label=labels, names=np.array(["a", "b", "c"]))
    return tmp_path / "vox.npz"


def test_packed_bits_come_back() -> None:
    grid = np.random.default_rng(0).random((2, 5, 5, 5)) < 0.3
    assert (unpack(np.packbits(grid.reshape(2, -1), axis=1)) == grid).all()
    with pytest.raises(ValueError, match="packed bits"):
        unpack(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="voxels of 100 bytes a grid: a cube of 9 cells a side has 92"):
        unpack(np.zeros((3, 100), np.uint8))


def test_a_box_has_the_faces_of_its_sides() -> None:
    corners, axes = faces(box(2, 3, 4))
    assert np.bincount(axes).tolist() == [2 * 12, 2 * 8, 2 * 6]
    assert corners.min() == 1
    low, high = corners[axes == 0, 0].min(), corners[axes == 0, 0].max()
    assert (low, high) == (1, 3)


def test_points_lie_on_the_surface_in_proportion_to_its_area() -> None:
    points = draw(box(2, 3, 4), 6000, seed=3)
    assert points.min(0) == pytest.approx([1, 1, 1])
    assert points.max(0) == pytest.approx([3, 4, 5])
    on = np.stack(
        [
            np.isclose(points[:, a], e[0]) | np.isclose(points[:, a], e[1])
            for a, e in enumerate([(1, 3), (1, 4), (1, 5)])
        ]
    )
    assert on.any(0).all()
    assert on.mean(1) == pytest.approx(np.array([24, 16, 12]) / 52, abs=0.02)
    assert (draw(box(2, 3, 4), 6000, seed=3) == points).all()
    assert not (draw(box(2, 3, 4), 6000, seed=4) == points).all()
    with pytest.raises(ValueError, match="empty voxel grid"):
        draw(np.zeros((3, 3, 3), bool), 5, seed=0)


def test_empty_and_repeated_grids_are_left_out(file: Path) -> None:
    found = from_npz(file, "vox", "label", sampled=100)
    assert found.points.shape == (3 + 25, 100, 3)
    assert 30 not in found.rows
    assert found.rows[:3] == [0, 1, 2]
    assert found.labels is not None
    assert found.labels.tolist() == [row % 3 for row in found.rows]
    assert found.names == ("a", "b", "c")
    again = from_npz(file, "vox", sampled=100, seed=1)
    assert again.rows == found.rows
    assert not again.points.equal(found.points)


def test_arrays_that_are_not_there_are_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vox, label, names, none of them called 'points'"):
        from_npz(file)
    with pytest.raises(ValueError, match="none of them called 'labels'"):
        from_npz(file, "vox", "labels")
    np.savez(tmp_path / "none.npz", vox=np.zeros((2, 64), np.uint8))
    with pytest.raises(ValueError, match="all of them empty"):
        from_npz(tmp_path / "none.npz", "vox")
    points = np.random.default_rng(0).random((30, 9, 3))
    points[7, 2, 1] = np.nan
    np.savez(tmp_path / "nan.npz", points=points)
    with pytest.raises(ValueError, match=r"nan.npz: points: cloud 7 is not finite"):
        from_npz(tmp_path / "nan.npz")
    points[7] = 0.5
    np.savez(tmp_path / "one.npz", points=np.concatenate([points, points[:7], points[8:]]))
    with pytest.raises(ValueError, match="cloud 7 has all its points in one place"):
        split(tmp_path / "one.npz", CloudData(train="one.npz"))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array(["a", "b", "c"]), "odd.npz: label has labels of type <U1"),
        (np.array([0, -1, 1]), "odd.npz: label, record 1: label -1 is no number from 0"),
        (np.array([0, 1.5, 1]), "record 1: label 1.5"),
        (np.array([0, 1]), r"3 clouds, but labels of shape \[2\]"),
        (np.array(1), r"labels of shape \[\]"),
    ],
)
def test_labels_that_name_no_class_are_refused(tmp_path: Path, labels: np.ndarray, said: str) -> None:
    np.savez(tmp_path / "odd.npz", points=np.random.default_rng(0).random((3, 9, 3)), label=labels)
    with pytest.raises(ValueError, match=said):
        from_npz(tmp_path / "odd.npz", labels="label")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{torn", "line 2 is not JSON"),
        ("[1]", r"line 2: '\[1\]' is not an object"),
        ('{"key": "a", "cloud": "a.ply"}', "line 2: 'cloud' is 'a.ply' and not"),
        ('{"cloud": {"file": "a.ply"}, "kind": "x"}', "line 2 has neither 'split' nor 'key'"),
        ('{"key": "a", "cloud": {"file": "a.ply"}}', "line 2 has no class 'kind'"),
    ],
)
def test_records_that_are_no_clouds_are_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "c.xyz").write_text("0 0 0\n1 0 0\n")
    good = '{"key": "c", "cloud": {"file": "c.xyz"}, "kind": "x"}'
    (tmp_path / "list.jsonl").write_text(f"\ufeff{good}\r\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"list.jsonl, {said}"):
        split(tmp_path / "list.jsonl", CloudData(train="list.jsonl", labels="kind"))
    (tmp_path / "list.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="holds no records"):
        split(tmp_path / "list.jsonl", CloudData(train="list.jsonl"))


def test_modelnet10_is_read_whole() -> None:
    path = held("pointcloud", "modelnet10_vox30.npz")
    found = from_npz(path, "vox_test", "label_test", sampled=64)
    assert len(found.points) == 908 - 1 - 15
    assert found.names[2] == "chair"
    assert found.labels is not None
    assert torch.bincount(found.labels).tolist()[0] == 50
