"""OFF files: ModelNet's own habits, variants with more columns, and damage that is told."""

from __future__ import annotations

import numpy as np
import pytest

from modalities.pointcloud import io
from modalities.pointcloud.mesh import read_off

SQUARE = "0 0 5\n1 0 5\n1 1 5\n0 1 5\n4 0 1 2 3\n"


@pytest.mark.parametrize(
    "head", ["OFF\n4 1 0\n", "OFF4 1 0\n", "OFF 4 1 0\n", "# made by hand\nOFF # a square\n\n4 1\n"]
)
def test_heads_as_they_occur(head: str) -> None:
    vertices, faces = read_off((head + SQUARE).encode())
    assert vertices.tolist() == [[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 1, 5]]
    assert [face.tolist() for face in faces] == [[0, 1, 2, 3]]


def test_a_mesh_becomes_points_and_one_without_faces_its_vertices() -> None:
    cloud = io.read(b"OFF\n4 1 0\n" + SQUARE.encode(), ".off")
    assert cloud.shape == (2048, 3)
    assert cloud[:, 2].unique().tolist() == [5]
    assert cloud[:, :2].mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert io.read(b"OFF\n2 0 0\n0 0 0\n1 2 3\n", ".off").tolist() == [[0, 0, 0], [1, 2, 3]]


def test_colours_behind_points_and_faces_are_skipped() -> None:
    vertices, faces = read_off(
        b"COFF\n3 1 3\n0 0 0 255 0 0 255\n1 0 0 0 0 0 0\n0 1 0 9 9 9 9\n3 0 1 2 0.5 0.5 0.5\n"
    )
    assert vertices.shape == (3, 3)
    assert np.array_equal(faces[0], [0, 1, 2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not with 'OFF'"),
        (b"ply\n", "starts with 'ply'"),
        (b"OFFICE\n1 0 0\n", "starts with 'OFFICE'"),
        (b"OFF\n", "no counts"),
        (b"OFF\nmany 1 0\n", "no counts"),
        (b"OFF\n4 1 0\n0 0 0\n", "promises 4 vertices and 1 faces but has 1 lines"),
        (b"OFF\n1 0 0\n0 zero 0\n", "line 3 '0 zero 0'"),
        (b"OFF\n1 0 0\n0 0\n", "line 3 '0 0'"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n", "3 corners promised"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "names vertex 8"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n2 0 1\n", "no face of three corners"),
        (b"OFF\n0 0 0\n", "without points"),
        (b"OFF\n2 0 0\n0 0 nan\n1 1 1\n", "not finite"),
    ],
)  # fmt: skip
def test_damage_is_told(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        io.read(data, ".off")
