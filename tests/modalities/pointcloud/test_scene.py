"""Scenes as parts: places in words and back, objects from clouds, boxes and, where open3d loads, proposals."""

from __future__ import annotations

import pytest
import torch

from modalities.pointcloud import proposals
from modalities.pointcloud.scene import Place, Placed, Scene, placed
from unitok import create
from unitok.document import Document, segment

BOXES = torch.tensor(
    [
        [[0.4, 0.5, 0.1], [1.2, 1.1, 0.8]],
        [[2.4, 0.6, 0.1], [3.0, 1.2, 1.0]],
        [[1.0, 2.2, 0.1], [2.8, 2.8, 0.5]],
    ]
)


def surface(low, high, count, seed):
    """Points on the faces of a box, two corners among them."""
    draw = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    face = torch.arange(count) % 6
    draw[torch.arange(count), face % 3] = (face // 3).float()
    draw[0], draw[1] = 0, 1
    return low + draw * (high - low)


@pytest.fixture
def room():
    """Three boxes between a floor and two walls, all in noise of 5 mm, and which object each point is of (-1 none)."""
    corner = torch.tensor([4.0, 3.5, 2.5])
    flat = torch.rand(6000, 3, generator=torch.Generator().manual_seed(9)) * corner
    for axis in range(3):
        flat[2000 * axis : 2000 * (axis + 1), axis] = 0
    clouds = [surface(low, high, 3000, n) for n, (low, high) in enumerate(BOXES)]
    label = torch.cat([torch.full((6000,), -1), *(torch.full((3000,), n) for n in range(3))])
    points = torch.cat([flat, *clouds])
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(5)) * 0.005
    return points + noise, label


def test_a_place_in_words_and_back():
    place = Place((1.24, -0.02, 0.0), (0.8, 0.76, 0.01))
    assert place.text == "at 1.2 0.0 0.0, size 0.8 0.8 0.1:"
    assert placed(f"{place.text} x at -1.0 2.0 0.5, size 10.0 0.1 0.1:") == [
        Place((1.2, 0.0, 0.0), (0.8, 0.8, 0.1)),
        Place((-1.0, 2.0, 0.5), (10.0, 0.1, 0.1)),
    ]
    assert placed("at 1 2 3") == []
    assert placed(f"at {'9' * 400}.0 2.0 0.5, size 10.0 0.1 0.1:") == []  # not infinity


def test_a_place_is_the_box_of_the_points():
    cloud = surface(*BOXES[0], 600, 0)
    place = Placed(cloud).place
    assert place.position == pytest.approx((0.8, 0.8, 0.1))
    assert place.size == pytest.approx((0.8, 0.6, 0.7))


def test_a_known_place_is_believed():
    place = Place((1.0, 2.0, 0.0), (0.5, 0.5, 0.5))
    assert Scene((Placed(torch.rand(9, 3), "box", place),)).parts()[0] == {"text": place.text}


def test_parts_keep_the_order_and_make_a_document():
    clouds = {f"box {n}": surface(low, high, 256, n) for n, (low, high) in enumerate(BOXES)}
    scene = Scene.of(clouds)
    parts = scene.parts()
    assert [next(iter(part)) for part in parts] == ["text", "cloud"] * 3
    said = "".join(part["text"] for part in parts if "text" in part)
    assert placed(said) == [
        Place((0.8, 0.8, 0.1), (0.8, 0.6, 0.7)),
        Place((2.7, 0.9, 0.1), (0.6, 0.6, 0.9)),
        Place((1.9, 2.5, 0.1), (1.8, 0.6, 0.4)),
    ]
    assert [float(part["cloud"].mean()) for part in parts[1::2]] == [float(c.mean()) for c in clouds.values()]
    files = scene.parts([{"file": f"{n}.npz"} for n in range(3)])
    assert files[1] == {"cloud": {"file": "0.npz"}}
    assert files[0] == parts[0]
    blocks = {"text": create("text.bytes"), "cloud": create("pointcloud.any2point", budget=4)}
    document = Document.of(*(segment(blocks[name], item) for part in parts for name, item in part.items()))
    assert [len(one.codes) for one in document.segments if one.name == "cloud"] == [4, 4, 4]
    assert len(scene.points) == 768


def test_boxes_cut_a_cloud(room):
    points, label = room
    grown = torch.stack([BOXES[:, 0] - 0.03, BOXES[:, 1] + 0.03], 1)
    scene = Scene.cut(points, boxes=grown)
    for n, one in enumerate(scene.objects):
        assert len(one.points) == pytest.approx(3000, abs=60)
        assert one.place.size == pytest.approx(tuple((BOXES[n, 1] - BOXES[n, 0]).tolist()), abs=0.06)


def test_proposals_find_the_objects(room):
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("open3d does not load")
    points, label = room
    found = proposals.propose(points)
    assert len(found) == 3
    assert [len(one) for one in found] == sorted((len(one) for one in found), reverse=True)
    for index in found:
        most = int(label[index].mode().values)
        assert most >= 0
        assert float((label[index] == most).float().mean()) > 0.97
        assert len(index) > 0.9 * 3000
    again = proposals.propose(points)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    with pytest.raises(ValueError, match="no object is found in a cloud of 15000 points"):
        Scene.cut(points, least=5000)


def test_without_open3d_the_error_says_what_to_do(monkeypatch):
    def missing():
        raise ImportError("open3d is installed but does not load (why): it needs libusb")

    monkeypatch.setattr(proposals, "import_open3d", missing)
    with pytest.raises(ImportError, match=r"object proposals need open3d: .*libusb; or give boxes"):
        Scene.cut(torch.rand(100, 3))


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ("everything", r"boxes are no numbers .*: give \[k, 2, 3\]"),
        (torch.zeros(2, 3), r"boxes of shape \[2, 3\]: give \[k, 2, 3\]"),
        ([[[1, 0, 0], [0, 1, 1]]], "box 0 has its lowest corner .* above"),
        ([[[0, 0, 0], [1, 1, 1]], [[5, 5, 5], [6, 6, 6]]], "box 1 .* holds no point"),
        (torch.zeros(0, 2, 3), "no object is found"),
    ],
)
def test_bad_boxes_are_named(boxes, said):
    with pytest.raises(ValueError, match=said):
        Scene.cut(torch.rand(100, 3), boxes=boxes)


def test_a_scene_without_clouds_or_with_a_bad_one_is_refused():
    with pytest.raises(ValueError, match="no objects"):
        Scene.of({})
    with pytest.raises(ValueError, match="object 'lamp': .*without points"):
        Scene.of({"chair": torch.rand(9, 3), "lamp": torch.zeros(0, 3)})
    with pytest.raises(ValueError, match="1 clouds for 2 objects"):
        Scene.of({"a": torch.rand(9, 3), "b": torch.rand(9, 3)}).parts([1])
