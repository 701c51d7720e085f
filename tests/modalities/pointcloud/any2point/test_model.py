"""The whole model on small sources: projection, guides, names, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from any2point_noted import clouds
from torch.nn import functional as F

from modalities.pointcloud.any2point import (
    Any2Point,
    SourceShape,
    virtual_projection_1d,
    virtual_projection_2d,
)
from modalities.pointcloud.any2point.cells import Cells, line_bins, plane_bins, voxels
from modalities.pointcloud.any2point.guided import Guide, Views
from modalities.pointcloud.any2point.project import line_positions, plane_positions, rotations
from unitok.strict import ConfigError

SMALL = {"width": 48, "layers": 2, "heads": 4, "hidden": 96}
SHAPES = {
    "language": SourceShape(**SMALL, grid=(21,), activation="quick_gelu"),
    "vision": SourceShape(**SMALL, grid=(5, 5), patch=14, scaled=True),
    "audio": SourceShape(**SMALL, grid=(19, 12), patch=16),
}


def model(source="language", **changes):
    torch.manual_seed(0)
    options = {"shape": SHAPES.get(source, SHAPES["language"]), "points": 64, "neighbours": 8, "classes": 5}
    return Any2Point(source, **{**options, **changes})


@pytest.mark.parametrize("source", SHAPES)
@pytest.mark.parametrize("preset", ["modelnet40", "scanobjectnn"])
def test_in_the_papers_mode_no_cloud_knows_of_another_and_order_does_not_matter(source, preset):
    net = model(source, preset=preset).eval()
    points = clouds(64)
    with torch.no_grad():
        both = net(points)
        assert torch.allclose(net(points[1:]), both[1:], atol=1e-5)
        order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(net(points[:, order]), both, atol=1e-5)
    assert both.isfinite().all()


@pytest.mark.parametrize("source", SHAPES)
def test_published_modes_depend_on_the_batch_and_differ_from_each_other(source):
    found = {}
    for compat in ("paper", "official", "fixed"):
        net = model(source, compat=compat).eval()
        with torch.no_grad():
            found[compat] = net(clouds(64))
            alone = net(clouds(64)[:1])
        assert torch.allclose(alone, found[compat][:1], atol=1e-6) == (compat == "paper")
    assert not torch.allclose(found["official"], found["fixed"], atol=1e-6)
    assert not torch.allclose(found["paper"], found["fixed"], atol=1e-6)


@pytest.mark.parametrize("source", SHAPES)
@pytest.mark.parametrize("compat", ["paper", "official"])
def test_what_trains_gets_gradients_and_the_source_none(source, compat):
    net = model(source, compat=compat).train()
    F.cross_entropy(net(clouds(64)), torch.tensor([1, 3])).backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad != name.startswith(("layers.", "opening.")), name
    moved = [name for name, p in net.trainable() if float(p.grad.abs().sum()) > 0]
    for part in (
        "front.",
        "guides.0.adapter.",
        "guides.1.space",
        "guides.1.views.5",
        "views.attention.3",
        "head.8",
    ):
        assert any(name.startswith(part) for name in moved), part


def test_a_step_down_the_gradient_lowers_the_loss():
    net = model().double().eval()
    points, labels = clouds(64).double(), torch.tensor([1, 3])
    loss = F.cross_entropy(net(points), labels)
    loss.backward()
    with torch.no_grad():
        square = sum(float(p.grad.square().sum()) for _, p in net.trainable())
        rate = 1e-6 / math.sqrt(square)
        for _, p in net.trainable():
            p -= rate * p.grad
        after = F.cross_entropy(net(points), labels)
    assert float((loss - after).detach()) == pytest.approx(rate * square, rel=0.01)


def test_names_are_published_and_come_back():
    net = model("vision")
    state = net.state_dict()
    assert "blocks.1.out_transform_2d.4.0.running_mean" in state
    assert "patch_embed.EncP.LGA_list.0.linear2.1.net1.0.weight" in state
    assert not any(name.startswith(("layers.", "guides.", "front.")) for name in state)
    other = model("vision", classes=5)
    torch.nn.init.zeros_(other.cls_token)
    other.load_state_dict(state)
    with torch.no_grad():
        assert other.eval()(clouds(64)).equal(net.eval()(clouds(64)))
    inside = torch.nn.Sequential(net)
    assert {f"0.{name}" for name in state} == set(inside.state_dict())
    inside.load_state_dict(inside.state_dict())


@pytest.mark.parametrize("source", ["language", "vision", "audio"])
def test_names_of_the_scanobjectnn_trees_load(source):
    net = model(source, preset="scanobjectnn").eval()
    for layer in (net.head[0], net.head[4]):
        torch.nn.init.zeros_(layer.bias)
    head = {"0.": "0.0.", "1.": "0.1.", "4.": "2.0.", "5.": "2.1.", "8.": "4.0."}
    theirs = {"source_positions": net.source_positions}
    for name, tensor in net.state_dict().items():
        number = name.removeprefix("cls_head_finetune.")
        if number == name:
            theirs.setdefault(f"encoder.{name}" if name != "source_positions" else name, tensor)
        elif number not in ("0.bias", "4.bias"):  # a linear layer before a norm has none there
            theirs[f"prediction.head.{head[number[:2]]}{number[2:]}"] = tensor
    assert "prediction.head.2.1.running_var" in theirs
    other = model(source, preset="scanobjectnn").eval()
    for parameter in other.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    other.load_state_dict(theirs)
    with torch.no_grad():
        assert other(clouds(64)).equal(net(clouds(64)))
    del theirs["prediction.head.4.0.bias"]  # this one is there
    with pytest.raises(RuntimeError, match=r"head\.8\.bias"):
        other.load_state_dict(theirs)


def test_weights_without_positions_load_with_a_word_of_warning():
    net = model()
    state = {name: t for name, t in net.state_dict().items() if name != "source_positions"}
    with pytest.warns(UserWarning, match="lack source_positions"):
        net.load_state_dict(state)
    del state["cls_token"]
    with pytest.warns(UserWarning, match="lack"), pytest.raises(RuntimeError, match="cls_token"):
        net.load_state_dict(state)


@pytest.mark.parametrize("width", [96, 100])
def test_other_widths_work(width):
    net = model(shape=SHAPES["language"].model_copy(update={"width": width})).eval()
    assert net(clouds(64)).shape == (2, 5)
    assert isinstance(net.widen, torch.nn.Linear) == (width == 100)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"source": "smell"}, "smell"),
        ({"preset": "modelnet10"}, "modelnet10"),
        ({"compat": "exact"}, "exact"),
        ({"neighbors": 5}, "did you mean 'neighbours'"),
        ({"shape": SHAPES["vision"]}, "one axis"),
    ],
)
def test_wrong_settings_are_named(options, match):
    with pytest.raises((ConfigError, ValueError), match=match):
        model(**{"source": "language", **options})


def test_views_are_rotations_that_differ():
    turns = rotations()
    assert torch.allclose(turns @ turns.transpose(1, 2), torch.eye(3).expand(6, 3, 3))
    assert torch.allclose(torch.linalg.det(turns), torch.ones(6))
    assert len({tuple(turn.flatten().tolist()) for turn in turns}) == 6


def test_a_line_spans_all_positions_in_each_view():
    places = virtual_projection_1d(clouds(64), length=21)
    assert places.shape == (2, 6, 64)
    assert torch.allclose(places.amin(-1), torch.zeros(2, 6))
    assert torch.allclose(places.amax(-1), torch.full((2, 6), 20.0))
    a = 0.5**0.5
    directions = [(-a, -a, 0), (0, -a, a), (a, -a, 0), (0, -a, -a), (-a, 0, -a), (-a, 0, a)]
    for view, direction in enumerate(directions):
        along = clouds(64)[0] @ torch.tensor(direction)
        assert places[0, view].argsort().equal(along.argsort())
    assert virtual_projection_1d(torch.ones(1, 3, 3)).isfinite().all()


def test_a_plane_is_seen_in_perspective():
    pixels = virtual_projection_2d(clouds(64), -1.4, (70, 70))
    assert pixels.shape == (2, 6, 64, 2)
    seen = torch.einsum("vij,gj->vgi", rotations(), clouds(64)[0])
    x = (seen[..., 0] / (seen[..., 2] + 1.4) + 1) * 35 - 0.5
    assert torch.allclose(pixels[0, ..., 0], x.clamp(0, 69), atol=1e-4)
    middle = virtual_projection_2d(torch.zeros(1, 1, 3), -1.4, (70, 70))
    assert torch.allclose(middle, torch.full((1, 6, 1, 2), 34.5))


def test_positions_are_interpolated_between_neighbours():
    table = torch.arange(10.0)[:, None]
    places = torch.tensor([[[0.0, 2.25, 9.0]]]).expand(1, 6, 3)
    assert torch.allclose(line_positions(table, places)[0, :, 0], torch.tensor([0, 2.25, 9]))
    grid = (torch.arange(3.0)[:, None] * 10 + torch.arange(4.0)).reshape(12, 1)  # row * 10 + column
    pixels = torch.tensor([[0.0, 0.0], [29.0, 19.0], [14.5, 9.5]]).expand(1, 6, 3, 2)
    found = plane_positions(grid, pixels, (3, 4), (20, 30))[0, :, 0]
    assert torch.allclose(found, torch.tensor([0.0, 23.0, 11.5]), atol=1e-4)


def test_cells_pool_and_spread():
    cells = Cells.of(torch.tensor([[7, 3, 7], [3, 3, 9]]))
    assert cells.counts.tolist() == [1, 2, 2, 1]
    x = torch.tensor([[[1.0], [5], [3]], [[2], [8], [4]]])
    assert cells.mean(x).flatten().tolist() == [5, 2, 5, 4]
    assert cells.maximum(x).flatten().tolist() == [5, 3, 8, 4]
    assert cells.spread(cells.mean(x)).flatten().tolist() == [2, 5, 2, 5, 5, 4]
    assert cells.together()[0].int().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert line_bins(torch.tensor([0.0, 1.9, 2.0, 76.0]), 2).tolist() == [0, 0, 1, 38]
    assert plane_bins(torch.tensor([[25.0, 51.9], [517.0, 517.0]]), 26, (518, 518)).tolist() == [20, 399]
    numbers = voxels(torch.tensor([[[0.0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0, 0, 0.5]]]), 0.16)
    assert len(numbers.unique()) == 3
    assert numbers[0, 0] == numbers[0, 1]


@pytest.mark.parametrize("pool", ["mean", "both"])
def test_a_guide_is_what_its_formulas_say(pool):
    torch.manual_seed(0)
    guide, views = Guide(8, 2, pool, 0.5).double().eval(), Views(8).double()
    for norm in (guide.space, *guide.views):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    bins = torch.randint(3, (6, 1, 6))
    space = torch.tensor([[0, 1, 1, 2, 2, 2]])
    cells = [Cells.of(each) for each in bins]
    found = guide(x, Cells.of(space), cells, [each.together() for each in cells], views, [0] * 6)

    def pooled(rows, numbers, norm, both):
        made = torch.stack([rows[numbers == number].mean(0) for number in numbers])
        if both:
            made = made + torch.stack([rows[numbers == number].amax(0) for number in numbers])
        return F.gelu((made - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias)

    x3 = pooled(x[0], space[0], guide.space, True)
    seen, weights = [], []
    for view in range(6):
        near = bins[view, 0][:, None] == bins[view, 0]
        normed = F.layer_norm(x[0], (8,), views.norms[view].weight, views.norms[view].bias)
        q, k, v = views.attention[view].qkv(normed).chunk(3, -1)
        heads = []
        for head in range(6):
            part = slice(2 * head, 2 * head + 2)
            scores = (q[:, part] @ k[:, part].t() / 12**0.5).masked_fill(~near, -torch.inf)
            heads.append(scores.softmax(-1) @ v[:, part])
        y = x[0] + views.attention[view].proj(torch.cat(heads, -1))
        seen.append(pooled(y, bins[view, 0], guide.views[view], pool == "both"))
        weights.append((F.cosine_similarity(seen[-1], x3, dim=-1) + 1) / 2)
    share = torch.stack(weights) / torch.stack(weights).sum(0)
    wanted = x[0] + 0.5 * (share[..., None] * torch.stack(seen)).sum(0)
    assert torch.allclose(found[0], wanted, atol=1e-10)


def test_empty_bins_count_in_training_as_published_alone():
    torch.manual_seed(0)
    guide, views = Guide(8, 2, "mean", 0.5), Views(8)
    x = torch.randn(1, 6, 8)
    cells = [Cells.of(torch.tensor([[0, 0, 1, 1, 2, 2]]))] * 6
    together = [each.together() for each in cells]
    paper = guide(x, cells[0], cells, together, views, [0] * 6)
    assert not torch.allclose(guide(x, cells[0], cells, together, views, [36] * 6), paper, atol=1e-3)


def test_drop_path_leaves_the_expectation():
    net = model("vision", drop_path=0.5).train()
    torch.manual_seed(0)
    x = torch.ones(4000, 1, 1)
    assert net._dropped(x, 0).equal(x)
    dropped = net._dropped(x, 1)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert float(dropped.mean()) == pytest.approx(1, abs=0.1)
    assert net.eval()._dropped(x, 1).equal(x)
