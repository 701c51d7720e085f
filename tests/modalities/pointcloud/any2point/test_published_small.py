"""Against the published modules at width 48, noted in tests/golden: evaluation, and a training step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from any2point_noted import six, tensor
from released import numbers
from torch.nn import functional as F

from modalities.pointcloud.any2point import Any2Point, SourceShape

NOTED = json.loads((Path(__file__).parents[3] / "golden" / "any2point_published.json").read_text())
GRIDS = {"language": (77,), "vision": (37, 37), "audio": (19, 12)}
PATCHES = {"language": 1, "vision": 14, "audio": 16}


def model(source: str) -> Any2Point:
    shape = SourceShape(
        width=48, layers=2, heads=4, hidden=192, grid=GRIDS[source], patch=PATCHES[source], scaled=source == "vision",
        activation="quick_gelu" if source == "language" else "gelu",
    )  # fmt: skip
    net = Any2Point(
        source, compat="official", shape=shape, points=1024, neighbours=12, classes=5, rank=4, drop_path=0.0
    )
    state = {name: tensor(name, tuple(t.shape)) for name, t in net.state_dict().items()}
    table = 0.02 * (2 * numbers("table", tuple(net.source_positions.shape)) - 1)
    net.load_state_dict({**state, "source_positions": table.float()})
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return net.double()


@pytest.mark.parametrize("source", GRIDS)
def test_logits_loss_gradients_and_statistics_are_the_published_ones(source):
    noted, net = NOTED[source], model(source)
    with torch.no_grad():
        logits = net.eval()(six().double())
    assert torch.allclose(logits, torch.tensor(noted["logits"], dtype=torch.float64), atol=1e-9)
    loss = F.cross_entropy(net.train()(six().double()), torch.tensor([1, 3, 0, 2, 4, 1]))
    assert float(loss.detach()) == pytest.approx(noted["loss"], rel=1e-9)
    loss.backward()
    state = net.state_dict(keep_vars=True)
    for name, norm in noted["gradient norms"].items():
        assert float(state[name].grad.norm()) == pytest.approx(norm, rel=1e-6, abs=1e-12), name
    for name, start in noted["gradient starts"].items():
        found = state[name].grad.flatten()[:3]
        near = 1e-12 + 1e-6 * noted["gradient norms"][name]  # some are 0: batch normalisation takes them away
        assert torch.allclose(found, torch.tensor(start, dtype=torch.float64), atol=near), name
    for name, mean in noted["running variance"].items():
        assert float(state[name].mean()) == pytest.approx(mean, rel=1e-9), name
