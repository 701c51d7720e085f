"""The front end: closed-form training equals plain layers, and nothing depends on company or order."""

from __future__ import annotations

import pytest
import torch
from any2point_noted import clouds
from torch.nn import functional as F

from modalities.pointcloud.any2point import fused
from modalities.pointcloud.any2point.pointpn import PointPN, sines
from modalities.pointcloud.sample import gather, nearest


def front(**changes):
    torch.manual_seed(0)
    options = {"width": 48, "neighbours": 9, "points": 64, "offsets": "deviation", "published": False}
    made = PointPN(**{**options, **changes})
    for norm in (m for m in made.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        torch.nn.init.normal_(norm.weight, 1, 0.3)
        torch.nn.init.normal_(norm.bias, 0, 0.3)
    return made


def plainly(net: PointPN, points: torch.Tensor) -> torch.Tensor:
    """The training forward of a front end in plain layers, one after the other."""
    x = F.relu(net.embed(points.flatten(0, 1))).reshape(len(points), points.shape[1], -1)
    order = net._order(points)
    level, centres, middle = points, gather(points, order), gather(x, order)
    for number, stage in enumerate(net.stages):
        at = centres[:, : net.points >> (number + 1)]
        index = nearest(at, level, net.neighbours)
        around = gather(x, index)
        z = torch.cat([around, middle[:, : at.shape[1], None].expand_as(around)], -1)
        z = z + sines(net._scaled(gather(level, index) - at[:, :, None]), z.shape[-1])
        for layer in stage:
            h = layer.down[1](layer.down[0](z.flatten(0, 2))).relu()
            z = (layer.up[1](layer.up[0](h)).reshape(z.shape) + z).relu()
        x = middle = z.amax(2)
        level = at
    return x


@pytest.mark.parametrize("rows", [27, 100_000])
def test_training_in_closed_form_is_that_of_plain_layers(monkeypatch, rows):
    monkeypatch.setattr(fused, "ROWS", rows)
    points = clouds(64).double()
    ours, plain = front().double(), front().double()
    weights = torch.randn(2, 8, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, found = ours(points)
    wanted = plainly(plain, points)
    assert torch.allclose(found, wanted, atol=1e-10)
    (found * weights).sum().backward()
    (wanted * weights).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, atol=1e-9 * max(1, float(q.grad.abs().max()))), name
    for (name, a), b in zip(ours.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(a, b, atol=1e-10), name


def test_evaluation_uses_running_statistics():
    net, points = front().double(), clouds(64).double()
    for _ in range(3):
        net(points)
    net.eval()
    for module in net.modules():  # plain layers, but the norms in evaluation
        module.training = False
    assert torch.allclose(net(points)[1], plainly(net, points), atol=1e-10)


def test_a_cloud_has_its_features_in_any_company_and_order():
    net, points = front().eval(), clouds(64)
    centres, alone = net(points[:1])
    both = net(points)[1]
    assert torch.allclose(both[:1], alone, atol=1e-5)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    turned, found = net(points[:1, order])
    assert torch.allclose(turned, centres)
    assert torch.allclose(found, alone, atol=1e-5)
    together = front(published=True).eval()
    assert not torch.allclose(together(points)[1][:1], together(points[:1])[1], atol=1e-3)


def test_reach_puts_the_farthest_offsets_of_each_axis_at_one():
    net = front(offsets="reach")
    offsets = torch.randn(2, 3, 5, 3, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(net._scaled(offsets).abs().amax(2), torch.ones(2, 3, 3))
    assert net._scaled(torch.zeros(1, 1, 2, 3)).equal(torch.zeros(1, 1, 2, 3))


def test_sines_are_those_of_the_definition():
    found = sines(torch.tensor([[0.3, -0.2, 1.0]], dtype=torch.float64), 12)[0]
    for axis, value in enumerate((0.3, -0.2, 1.0)):
        for j in range(2):
            angle = torch.tensor(100 * value / 1000 ** (j / 2), dtype=torch.float64)
            assert found[4 * axis + j] == pytest.approx(float(angle.sin()), abs=1e-9)
            assert found[4 * axis + 2 + j] == pytest.approx(float(angle.cos()), abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"width": 50}, "multiple of 48"), ({"points": 60}, "multiple of 8"), ({"neighbours": 17}, "a quarter")],
)
def test_impossible_sizes_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        front(**changes)


@pytest.mark.parametrize("shape", [(2, 31, 3), (64, 3), (2, 64, 4)])
def test_unfit_clouds_are_refused(shape):
    with pytest.raises(ValueError, match="at least 32"):
        front()(torch.zeros(shape))
