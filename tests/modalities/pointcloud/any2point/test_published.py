"""Against numbers of the published modules (ModelNet trees of language, vision and audio)."""

from __future__ import annotations

import pytest
import torch
from any2point_noted import SOURCES, clouds, golden, keys, table, tensor

from modalities.pointcloud.any2point import Any2Point, virtual_projection_1d, virtual_projection_2d
from modalities.pointcloud.any2point.cells import line_bins, plane_bins, voxels
from modalities.pointcloud.any2point.pointpn import PointPN
from modalities.pointcloud.any2point.project import line_positions, plane_positions
from modalities.pointcloud.sample import farthest

CANVAS = {"vision": (518, 518), "audio": (304, 192)}
GRID = {"vision": (37, 37), "audio": (19, 12)}


@pytest.mark.parametrize("source", SOURCES)
def test_names_shapes_and_what_trains_are_the_published_ones(source):
    with torch.device("meta"):
        model = Any2Point(source, compat="official")
    wanted = keys(source)
    state = model.state_dict()
    assert {k: tuple(t.shape) for k, t in state.items() if k != "source_positions"} == {
        k: shape for k, (shape, _) in wanted.items()
    }
    assert state["source_positions"].shape == table(source).shape
    trained = sum(p.numel() for _, p in model.trainable())
    assert trained == sum(torch.Size(shape).numel() for shape, kind in wanted.values() if kind == "trainable")
    head = sum(p.numel() for p in model.head.parameters())
    assert (trained - head) / 1e6 == pytest.approx(0.948 if source == "language" else 0.801, abs=5e-4)


@pytest.mark.parametrize("source", SOURCES)
def test_farthest_points_are_the_noted_ones_and_later_stages_are_prefixes(source):
    _, noted = golden(source)
    found = farthest(clouds(), 512, first=0, ignored=1e-3)
    assert found.equal(noted["fps_stage0"].long())
    for stage, count in ((1, 256), (2, 128)):
        assert noted[f"fps_stage{stage}"].equal(
            torch.arange(count).expand(2, -1).to(noted["fps_stage1"].dtype)
        )
    assert found[:, :128].equal(noted["fps_in_cloud"].long())
    plain = farthest(clouds(), 512, first=0)
    assert (
        int((plain != found).sum())
        == golden(source)[0]["margins"]["stage0_fps_indices_changed_without_skip_rule"]
    )


@pytest.mark.parametrize("source", SOURCES)
def test_the_front_end_gives_the_noted_features(source):
    summaries, noted = golden(source)
    front = PointPN(768, summaries["config"]["knn"], 1024, "deviation", published=True).eval()
    with torch.device("meta"):
        names = [k for k in Any2Point(source).state_dict() if k.startswith("patch_embed")]
    shapes = keys(source)
    state = {k: tensor(k, shapes[k][0]) for k in names}
    own = dict(zip(front.state_dict(), state.values(), strict=True))  # the same order
    front.load_state_dict(own)
    with torch.no_grad():
        centres, features = front(clouds())
    assert centres.equal(noted["centres"])
    assert torch.allclose(features[:, ::16], noted["features_every16"], atol=3e-4, rtol=0)


def test_places_on_the_line_bins_and_positions():
    _, noted = golden("language")
    places = virtual_projection_1d(noted["centres"], (1, -1, 0), compat="official")
    assert torch.allclose(places, noted["t_pos"], atol=1e-4, rtol=0)
    cloud = 39 * torch.arange(2)[:, None, None]
    assert (line_bins(places, 2) + cloud).equal(noted["bin_of_token"].long())
    for name, size in (("official_b2", 2), ("official_b1", 1), ("fixed_b2", 2)):
        found = line_positions(table("language"), places[:size], name.partition("_")[0])
        assert torch.allclose(found[:, ::32], noted[f"{name}.pe_every32"], atol=2e-6, rtol=0)


@pytest.mark.parametrize("source", ["vision", "audio"])
def test_pixels_bins_and_positions(source):
    _, noted = golden(source)
    canvas, edge = CANVAS[source], {"vision": 26, "audio": 16}[source]
    pixels = virtual_projection_2d(noted["centres"], -1.4, canvas, canvas[0] / canvas[1], compat="official")
    assert torch.allclose(pixels[..., 0], noted["X"], atol=5e-4, rtol=0)
    assert torch.allclose(pixels[..., 1], noted["Y"], atol=5e-4, rtol=0)
    cloud = {"vision": 400, "audio": 228}[source] * torch.arange(2)[:, None, None]
    assert (plane_bins(pixels, edge, canvas) + cloud).equal(noted["bin_of_token"].long())
    for compat in ("official", "fixed"):
        found = plane_positions(table(source), pixels, GRID[source], canvas, compat)
        assert torch.allclose(found[:, ::32], noted[f"{compat}_b2.pe_every32"], atol=2e-6, rtol=0)


@pytest.mark.parametrize("source", SOURCES)
def test_voxels_divide_tokens_as_noted(source):
    _, noted = golden(source)
    ours = voxels(noted["centres"], 0.16)
    theirs = noted["voxel_of_token"]
    for cloud in range(2):
        same = ours[cloud][:, None] == ours[cloud][None]
        assert same.equal(theirs[cloud][:, None] == theirs[cloud][None])


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_logits_are_the_noted_ones(source):
    noted, _ = golden(source)
    state = {k: tensor(k, shape) for k, (shape, _) in keys(source).items()}
    state["source_positions"] = table(source)
    for compat in ("official", "fixed"):
        model = Any2Point(source, compat=compat).eval()
        model.load_state_dict(state)
        for batch in (2, 1):
            with torch.no_grad():
                found = model(clouds()[:batch])
            wanted = torch.tensor(noted["runs"][f"{compat}_b{batch}"]["logits"])
            assert torch.allclose(found, wanted, atol=2e-5, rtol=0), (compat, batch)
    paper = Any2Point(source).eval()
    paper.load_state_dict(state)
    with torch.no_grad():
        both, alone = paper(clouds()), paper(clouds()[:1])
    assert torch.allclose(both[:1], alone, atol=2e-5, rtol=0)  # no word of the other cloud
