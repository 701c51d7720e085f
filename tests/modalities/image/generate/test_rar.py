"""RAR against the official module's outputs on a hash-filled tiny network, and what it must learn."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from released import filled, listing

from modalities.common.weights import load_weights
from modalities.image.generate.rar import RAR, RARConfig, RARSampling, random_share

NOTED = json.loads((Path(__file__).parents[3] / "golden" / "image_generators.json").read_text())["rar"]


@pytest.fixture(scope="module")
def official() -> RAR:
    """A tiny released generator with hash-filled weights."""
    state = filled({key: tuple(shape) for key, shape in NOTED["keys"].items()})
    config, ours = RAR.released(SimpleNamespace(state=state, config={}))
    net = RAR(config)
    load_weights(net, ours)
    return net.eval()


def test_logits_in_a_shuffled_order_are_those_of_the_official_module(official):
    codes, orders = torch.tensor(NOTED["codes"]), torch.tensor(NOTED["orders"])
    ordered = codes.gather(1, orders)
    assert ordered.tolist() == NOTED["labels"]
    logits = official(ordered, torch.tensor(NOTED["classes"]), orders)
    rows = logits[:, ::4].flatten(1)[:, :32].tolist()
    assert rows == [pytest.approx(row, abs=2e-6, rel=1e-4) for row in NOTED["logits"]]
    assert logits[:, -1].tolist() == [pytest.approx(row, abs=2e-6, rel=1e-4) for row in NOTED["last"]]
    without = official(codes, torch.tensor([-1, -1]))[0, 0].tolist()
    assert without == pytest.approx(NOTED["without"], abs=2e-6, rel=1e-4)


def test_greedy_samples_are_those_of_the_official_sampler(official):
    how = RARSampling(guidance=4.0, power=1.5, temperature=1e-6)
    assert official.sample(torch.tensor(NOTED["classes"]), how).tolist() == NOTED["greedy"]


@pytest.mark.parametrize("name", ["b", "l", "xl", "xxl"])
def test_released_sizes_load_strictly(name):
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in listing(f"rar_{name}").items()}
        config, ours = RAR.released(SimpleNamespace(state=state, config={}))
        net = RAR(config)
    assert config == RARConfig.preset(name)
    assert {key: tensor.shape for key, tensor in ours.items()} == {
        k: t.shape for k, t in net.state_dict().items()
    }


def test_orders_become_regular():
    assert [random_share(step, 10, 20) for step in (0, 9, 10, 15, 20, 99)] == [1, 1, 1, 0.5, 0, 0]


def test_it_learns_what_belongs_to_a_class_in_random_orders_and_reads_it_in_one():
    torch.manual_seed(0)
    config = RARConfig(
        tokens=6, codes=8, classes=3, width=32, layers=2, heads=4, hidden=64,
        sampling=RARSampling(guidance=2.0, power=1.0),
    )  # fmt: skip
    net, chance = RAR(config), torch.Generator().manual_seed(0)
    table = torch.tensor([[0, 1, 2, 3, 4, 5], [5, 5, 6, 6, 7, 7], [2, 0, 2, 0, 2, 0]])
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(200):
        classes = torch.randint(3, (32,), generator=chance)
        optimizer.zero_grad()
        net.loss(table[classes], classes, random=random_share(step, 100, 150), generator=chance).backward()
        optimizer.step()
    classes = torch.tensor([0, 1, 2, 2, 1, 0])
    drawn = net.eval().sample(classes, generator=chance)
    assert (drawn == table[classes]).float().mean() > 0.9
