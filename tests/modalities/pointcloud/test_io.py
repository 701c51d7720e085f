"""Files: what is written reads back bit for bit; what is damaged says so in one sentence."""

from __future__ import annotations

import io as streams
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modalities.pointcloud import io
from modalities.pointcloud.mesh import read_obj, spread
from modalities.pointcloud.ply import read_ply, write_ply

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
CLOUDS = arrays.arrays(np.float32, st.tuples(st.integers(1, 12), st.just(3)), elements=FLOATS)
CUBE = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1)) + (
    "f 1 2 4 3\nf 5/1 6/2 8/3 7/4\nf 1//1 2//1 6//1 5//1\nf -6 -5 -1 -2\nf 1 3 7 5\nf 2 4 8 6\n"
)


@pytest.mark.parametrize("suffix", io.OWN)
@given(array=CLOUDS)
@settings(max_examples=30, deadline=None)
def test_every_own_format_keeps_every_bit(suffix: str, array: np.ndarray) -> None:
    cloud = torch.from_numpy(array.copy())
    assert io.read(io.write(cloud, suffix), suffix).equal(cloud)


@given(array=CLOUDS, ascii=st.booleans())
@settings(max_examples=30, deadline=None)
def test_ply_keeps_every_bit_in_both_forms(array: np.ndarray, ascii: bool) -> None:
    vertices, faces = read_ply(write_ply(array, ascii=ascii))
    assert np.array_equal(vertices.astype(np.float32), array)
    assert faces == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_ply_with_colours_faces_and_foreign_elements(order: str) -> None:
    form = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = (
        f"ply\r\nformat {form} 1.0\r\ncomment made by hand\r\nelement camera 1\r\nproperty short id\r\n"
        "element vertex 3\r\nproperty double x\r\nproperty uchar red\r\nproperty double y\r\nproperty double z\r\n"
        "element face 2\r\nproperty list uchar int vertex_indices\r\nproperty float flag\r\nend_header\r\n"
    )
    body = struct.pack(order + "h", 7)
    for x, red, y, z in ((0.0, 1, 0.0, 0.0), (1.0, 2, 0.0, 0.0), (0.0, 3, 2.0, 5.0)):
        body += struct.pack(order + "dBdd", x, red, y, z)
    body += struct.pack(order + "B3if", 3, 0, 1, 2, 0.5) + struct.pack(order + "Bf", 0, 0.5)
    vertices, faces = read_ply(head.encode() + body)
    assert vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 2, 5]]
    assert [face.tolist() for face in faces] == [[0, 1, 2], []]
    with pytest.raises(ValueError, match="cut short"):
        read_ply(head.encode() + body[:-6])


def test_ascii_ply_with_faces_becomes_points_on_them() -> None:
    text = (
        b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        b"element face 1\nproperty list uchar int vertex_index\nend_header\n0 0 2\n1 0 2\n0 1 2\n3 0 1 2\n"
    )
    points = io.read(text, ".ply")
    assert len(points) == 2048
    assert points[:, 2].unique().tolist() == [2]
    assert bool((points[:, 0] + points[:, 1] <= 1 + 1e-6).all())


PLY = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
DAMAGED = {
    "no ply": (b"hello", ".ply", "not a PLY"),
    "empty": (b"", ".ply", "not a PLY"),
    "no end": (PLY[:-5], ".ply", "end_header"),
    "short": (PLY + b"0 0 0 1 1", ".ply", "cut short"),
    "word": (PLY + b"0 0 0 1 1 up", ".ply", "damaged"),
    "format": (PLY.replace(b"ascii", b"gzip"), ".ply", "format"),
    "line": (PLY.replace(b"property float x", b"property quad x"), ".ply", "not understood"),
    "no z": (PLY.replace(b"float z", b"float w") + b"0 0 0 1 1 1", ".ply", "x, y, z"),
    "no points": (PLY.replace(b"vertex 2", b"vertex 0"), ".ply", "without points"),
    "nan": (PLY + b"0 0 0 1 nan 1", ".ply", "1 of 2 points are not finite.*point 1"),
    "huge": (b"1 2 1e60\n", ".xyz", "not finite"),
    "two": (b"# head\n1 2\n", ".xyz", "line 2"),
    "text": (b"1 2 3\na b c\n", ".xyz", "line 2"),
    "blank": (b"\n\n", ".xyz", "without points"),
    "npy": (b"\x93NUMPY junk", ".npy", "not a readable"),
    "npz": (b"PK junk", ".npz", "not a readable"),
    "obj vertex": (b"v 1 2\n", ".obj", "line 1"),
    "obj number": (b"v 1 2 x\n", ".obj", "line 1"),
    "obj face": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", ".obj", "vertex 9"),
    "obj flat": (b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", ".obj", "area"),
    "suffix": (b"", ".doc", ".ply"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_in_one_sentence(name: str) -> None:
    data, suffix, reason = DAMAGED[name]
    with pytest.raises(ValueError, match=reason) as caught:
        io.read(data, suffix)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 150), st.binary(min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_bytes_changed_at_random_give_a_cloud_or_a_value_error(at: int, junk: bytes) -> None:
    whole = write_ply(np.ones((4, 3), dtype=np.float32))
    data = whole[:at] + junk + whole[at + len(junk) :]
    try:
        cloud = io.read(data, ".ply")
    except ValueError:
        return
    assert bool(cloud.isfinite().all())


def test_pickles_are_never_opened() -> None:
    stream = streams.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="plain numbers"):
        io.read(stream.getvalue(), ".npy")


def test_npz_takes_the_array_points_or_the_only_one(tmp_path: Path) -> None:
    for arrays_, fine in (({"points": 0, "other": 1}, True), ({"a": 0}, True), ({"a": 0, "b": 1}, False)):
        path = tmp_path / "cloud.npz"
        np.savez(path, **{name: np.full((2, 3), value, dtype=np.float16) for name, value in arrays_.items()})
        if fine:
            assert io.load(path).equal(torch.zeros(2, 3))
        else:
            with pytest.raises(ValueError, match=r"cloud.npz: .*points"):
                io.load(path)


def test_a_mesh_becomes_points_by_area() -> None:
    vertices, faces = read_obj(CUBE.encode())
    points = spread(vertices, faces, 3000)
    assert np.array_equal(points, spread(vertices, faces, 3000))
    on_side = [np.isclose(points[:, axis], end).sum() for axis in range(3) for end in (0, 1)]
    assert min(on_side) > 450  # six equal sides
    assert max(on_side) < 560
    assert points.min() >= 0
    assert points.max() <= 1
    assert np.allclose(points.mean(0), 0.5, atol=0.01)


def test_arrays_lists_and_colours_are_clouds_and_other_things_are_not() -> None:
    assert io.as_cloud([[1, 2, 3]]).dtype == torch.float32
    assert io.as_cloud(np.ones((2, 6))).shape == (2, 3)
    for bad, error in (
        ("cloud.ply", TypeError),
        (None, TypeError),
        ([[1, 2]], ValueError),
        (torch.ones(2, 2, 3), ValueError),
        (torch.ones(2, 3, dtype=torch.complex64), ValueError),
        ([["a", "b", "c"]], TypeError),
    ):
        with pytest.raises(error, match="cloud"):
            io.as_cloud(bad)


def test_missing_open3d_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ImportError, match=r"unitok-lm\[pointcloud\]"):
        io.read(b"", ".pcd")


def test_open3d_that_does_not_load_names_the_system_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "open3d.py").write_text("raise OSError('libusb-1.0.so.0: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "open3d", raising=False)
    with pytest.raises(ImportError, match=r"libusb-1.0-0.*apt-get install"):
        io.read(b"", ".pcd")


class FakeOpen3d:
    """Answers like open3d: an empty cloud for a damaged file, else three points."""

    class utility:  # noqa: N801
        class VerbosityLevel:
            Error = 0

        class VerbosityContextManager:
            def __init__(self, level: int) -> None: ...
            def __enter__(self) -> None: ...
            def __exit__(self, *error: object) -> None: ...

    class io:  # noqa: N801
        @staticmethod
        def read_point_cloud(path: str) -> object:
            good = Path(path).read_bytes() == b"good"
            return type("Cloud", (), {"points": np.eye(3) if good else np.zeros((0, 3))})


def test_an_empty_answer_of_open3d_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "import_open3d", lambda: FakeOpen3d)
    assert io.read(b"good", ".pcd").equal(torch.eye(3))
    with pytest.raises(ValueError, match="no points"):
        io.read(b"damaged", ".pcd")


def test_real_open3d_reads_points_and_meshes_and_damage_is_an_error() -> None:
    try:
        io.import_open3d()
    except ImportError as error:
        pytest.skip(str(error))
    corners = b"vertex 0 0 5\nvertex 1 0 5\nvertex 0 1 5\n"
    mesh = b"solid s\nfacet normal 0 0 1\nouter loop\n" + corners + b"endloop\nendfacet\nendsolid s\n"
    assert io.read(mesh, ".stl")[:, 2].unique().tolist() == [5]
    assert io.read(b"2\n0 0 1\n1 2 3\n", ".pts").tolist() == [[0, 0, 1], [1, 2, 3]]
    for suffix in io.OPEN3D:
        with pytest.raises(ValueError, match="no points"):
            io.read(b"junk", suffix)


def test_arrays_of_any_byte_order_width_and_step_are_clouds() -> None:
    for kind in (">f4", ">f2", np.longdouble, ">i4"):
        stream = streams.BytesIO()
        np.save(stream, np.arange(9).reshape(3, 3).astype(kind))
        assert io.read(stream.getvalue(), ".npy").tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert io.as_cloud(np.arange(6.0).reshape(2, 3)[::-1]).tolist() == [[3, 4, 5], [0, 1, 2]]


def test_a_byte_order_mark_costs_nothing() -> None:
    mark = b"\xef\xbb\xbf"
    assert io.read(mark + b"0 0 0\r\n1 0 0\r\n", ".xyz").tolist() == [[0, 0, 0], [1, 0, 0]]
    assert len(io.read(mark + b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", ".obj")) == 3
    assert len(io.read(mark + b"OFF 3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", ".off")) == 2048


def test_decimal_commas_are_not_read_as_two_numbers() -> None:
    with pytest.raises(ValueError, match="line 1 '1,5 2,5 3,5' has decimal commas"):
        io.read(b"1,5 2,5 3,5\n", ".xyz")
    assert io.read(b"1,5,2\n1, 5, 2\n1.5,2 3\n", ".xyz").tolist() == [[1, 5, 2], [1, 5, 2], [1.5, 2, 3]]


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_ply_lists_are_never_of_negative_length(form: str) -> None:
    head = f"ply\nformat {form} 1.0\ncomment end_header comes below\nelement vertex 1\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "element face 2\nproperty list char int vertex_indices\nend_header\n"
    body = b"0 0 0\n-1\n" if form == "ascii" else struct.pack("<fffbi", 0, 0, 0, -1, 0)
    with pytest.raises(ValueError, match="a list of -1 values"):
        read_ply(head.encode() + body)


def test_flipped_bytes_of_packed_arrays_are_one_sentence(tmp_path: Path) -> None:
    path, random = tmp_path / "packed.npz", np.random.default_rng(0)
    np.savez_compressed(path, points=random.normal(size=(40, 3)))
    whole = path.read_bytes()
    refused = 0
    for place in random.integers(len(whole), size=300):
        torn = bytearray(whole)
        torn[place] ^= 1 + int(random.integers(255))
        path.write_bytes(torn)
        for read in (io.arrays, io.load):
            try:
                read(path)
            except ValueError as error:
                assert "packed.npz" in str(error)  # noqa: PT017
                refused += 1
    assert refused > 100
    np.save(tmp_path / "bare.npy", np.ones((2, 3)))
    (tmp_path / "bare.npy").rename(path)
    with pytest.raises(ValueError, match="it is one array without a name"):
        io.arrays(path)
