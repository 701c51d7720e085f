"""Labelled clouds from every layout, and what is said of files that are not as they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modalities.pointcloud.any2point.adapt import AdaptData, Clouds
from modalities.pointcloud.any2point.labelled import read_labelled

RNG = np.random.default_rng(0)


def arrays(**changes):
    found = {
        "points_train": RNG.normal(size=(6, 16, 3)).astype(np.float16),
        "label_train": np.array([0, 0, 0, 1, 1, 1], dtype=np.uint8),
        "points_test": RNG.normal(size=(2, 16, 3)).astype(np.float16),
        "label_test": np.array([0, 1], dtype=np.uint8),
        "names": np.array(["bed", "chair"]),
    }
    return {**found, **changes}


def npz(folder, **changes):
    np.savez(folder / "data.npz", **{k: v for k, v in arrays(**changes).items() if v is not None})
    return folder / "data.npz"


def test_arrays_come_in_the_unit_sphere(tmp_path):
    found = read_labelled(npz(tmp_path), points=16)
    assert found.names == ("bed", "chair")
    assert found.train.points.shape == (6, 16, 3)
    assert found.test.labels.tolist() == [0, 1]
    assert torch.allclose(found.train.points.norm(dim=-1).amax(1), torch.ones(6), atol=1e-6)


def nan_at(cloud):
    points = RNG.normal(size=(6, 16, 3))
    points[cloud, 3, 1] = np.nan
    return points


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"label_test": None}, "lacks label_test: it has points_train"),
        ({"label_train": np.array([0, 1])}, "points_train has 6 clouds, but labels of shape \\[2\\]"),
        ({"label_train": np.array([0, 0, 0, 1, 2, 1])}, "record 4: label 2 is none of 2"),
        ({"points_train": nan_at(4)}, "record 4: a coordinate is not finite"),
        ({"points_test": np.ones((2, 16, 3))}, "record 0: all its points are in one place"),
        ({"points_test": np.zeros((0, 16, 3)), "label_test": np.zeros(0)}, "at least one cloud"),
        ({"points_test": np.ones((2, 48))}, r"shape \[2, 48\]"),
        ({"points_train": RNG.normal(size=(6, 9, 3))}, "clouds of 9 points, 16 are wanted"),
        ({"label_train": np.array(list("aaabbb"))}, r"data.npz: points_train has labels of type <U1"),
        ({"label_train": np.array([0, 0, 0.5, 1, 1, 1])}, "record 2: label 0.5 is none of 2 classes"),
        ({"points_train": np.full((6, 16, 3), "a")}, r"shape \[6, 16, 3\] <U1: need numbers"),
        ({"names": np.array("bed")}, r"data.npz: names has shape \[\]: need a name for each class"),
        ({"names": np.array([{}], dtype=object)}, r"data.npz is not a readable .npz"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        read_labelled(npz(tmp_path, **changes), points=16)


def test_other_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_labelled(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"bad.npz is not a readable .npz"):
        read_labelled(tmp_path / "bad.npz")
    (tmp_path / "a.csv").write_text("1,2,3")
    with pytest.raises(ValueError, match="not from '.csv'"):
        read_labelled(tmp_path / "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="neither CLASS/train"):
        read_labelled(tmp_path / "empty")


def test_scanobjectnn_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    for name, count in (("train", 6), ("test", 2)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["data"] = RNG.normal(size=(count, 20, 3)).astype(np.float32)
            file["label"] = np.arange(count) % 2
    found = read_labelled(tmp_path / "train.h5", tmp_path / "test.h5", points=16)
    assert found.train.points.shape == (6, 20, 3)
    assert found.names == ("0", "1")
    with pytest.raises(ValueError, match="name the other with data.test"):
        read_labelled(tmp_path / "train.h5")
    for label, said in (
        (10**9, "labels up to 1000000000 and fewer clouds"),
        (np.nan, "label nan is no number"),
    ):
        with h5py.File(tmp_path / "far.h5", "w") as file:
            file["data"], file["label"] = np.ones((2, 20, 3)), np.array([0, label])
        with pytest.raises(ValueError, match=said):
            read_labelled(tmp_path / "train.h5", tmp_path / "far.h5")
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["points"] = np.ones((2, 20, 3))
    with pytest.raises(ValueError, match="odd.h5 lacks data, label: it has points"):
        read_labelled(tmp_path / "train.h5", tmp_path / "odd.h5")
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken.h5 is no readable HDF5"):
        read_labelled(tmp_path / "train.h5", tmp_path / "broken.h5")


def test_modelnet_folders(tmp_path):
    (tmp_path / "modelnet2_shape_names.txt").write_text("bed\nnight_stand\n")
    (tmp_path / "modelnet2_train.txt").write_text("bed_0001\nnight_stand_0002\n")
    (tmp_path / "modelnet2_test.txt").write_text("night_stand_0003\n")
    for name in ("bed/bed_0001", "night_stand/night_stand_0002", "night_stand/night_stand_0003"):
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        np.savetxt(path, RNG.normal(size=(20, 6)), delimiter=",")
    found = read_labelled(tmp_path, points=16)
    assert found.names == ("bed", "night_stand")
    assert found.train.labels.tolist() == [0, 1]
    assert found.test.points.shape == (1, 16, 3)
    (tmp_path / "bed" / "bed_0001.txt").write_text("1,2,3\n" * 16)
    with pytest.raises(ValueError, match="bed_0001.txt: all its points are in one place"):
        read_labelled(tmp_path, points=16)
    (tmp_path / "bed" / "bed_0001.txt").write_text("")
    with pytest.raises(ValueError, match="bed_0001.txt: .*at least one"):
        read_labelled(tmp_path, points=16)
    (tmp_path / "bed" / "bed_0001.txt").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(ValueError, match="bed_0001.txt has 2 points, 16 are wanted"):
        read_labelled(tmp_path, points=16)
    (tmp_path / "modelnet2_test.txt").write_text("sofa_0003\n")
    with pytest.raises(ValueError, match="line 1: 'sofa_0003' is of no class"):
        read_labelled(tmp_path, points=16)


def test_folders_of_classes(tmp_path):
    for part in ("train", "test"):
        for name in ("bed", "chair"):
            folder = tmp_path / name / part
            folder.mkdir(parents=True)
            np.save(folder / "a.npy", RNG.normal(size=(40, 3)).astype(np.float32))
    found = read_labelled(tmp_path, points=16)
    assert found.train.points.shape == (2, 16, 3)
    assert found.test.labels.tolist() == [0, 1]


def test_some_of_each_class_choose_the_weights_and_never_train(tmp_path):
    found = read_labelled(npz(tmp_path), points=16)
    data = Clouds(found, AdaptData(train="", points=8, validation=0.3))
    assert data.validation.labels.tolist() == [0, 1]
    assert len(data.train) == 4
    for cloud in data.validation.points:
        assert not any(cloud.equal(other) for other in data.train)
    drawn, labels = data.batch(torch.tensor([0, 3]), torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 8, 3)
    assert labels.equal(data.labels[[0, 3]])
    assert torch.allclose(drawn.norm(dim=-1).amax(1), torch.ones(2), atol=1e-5)
    again, _ = data.batch(torch.tensor([0, 3]), torch.Generator().manual_seed(0))
    assert again.equal(drawn)


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_turns_keep_heights_and_distances(tmp_path, up):
    found = read_labelled(npz(tmp_path), points=16)
    data = Clouds(found, AdaptData(train="", points=16, validation=0.3, scale=(1, 1), turn=True, up=up))
    turned = data.changed(data.train, torch.Generator().manual_seed(0))
    axis = "xyz".index(up)
    assert torch.allclose(turned[..., axis].sort().values, data.train[..., axis].sort().values, atol=1e-5)
    assert torch.allclose(turned.norm(dim=-1).sort().values, data.train.norm(dim=-1).sort().values, atol=1e-5)
    assert float((turned.mean(-1).sort().values - data.train.mean(-1).sort().values).abs().max()) > 0.01
