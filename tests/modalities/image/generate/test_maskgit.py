"""MaskGIT against the official modules' outputs on hash-filled tiny networks, and what it must learn."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from released import filled, listing, numbers
from torch import Tensor

from modalities.common.weights import load_weights
from modalities.image.generate.maskgit import SAMPLING, MaskGIT, MaskGITConfig, Sampling

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "image_generators.json").read_text())


def official(kind: str) -> MaskGIT:
    """A tiny released generator with hash-filled weights."""
    state = filled({key: tuple(shape) for key, shape in GOLDEN[kind]["keys"].items()})
    config, ours = MaskGIT.released(
        SimpleNamespace(state=state, config={"model": {"generator": {"num_attention_heads": 4}}})
    )
    net = MaskGIT(config)
    load_weights(net, ours)
    return net.eval()


@pytest.mark.parametrize("kind", ["bert", "uvit"])
def test_logits_are_those_of_the_official_module(kind):
    net, noted = official(kind), GOLDEN[kind]
    ids, classes = torch.tensor(noted["ids"]), torch.tensor(noted["classes"])
    logits = net(ids, classes)
    assert logits[:, ::3].flatten(1)[:, :20].tolist() == [
        pytest.approx(row, abs=2e-6, rel=1e-4) for row in noted["logits"]
    ]
    without = net(ids, torch.full_like(classes, -1))
    assert without[0, 0].tolist() == pytest.approx(noted["without"], abs=2e-6, rel=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "power-cosine"])
@pytest.mark.parametrize("kind", ["bert", "uvit"])
def test_samples_are_those_of_the_official_sampler_under_the_same_noise(kind, schedule):
    net, noted = official(kind), GOLDEN[kind]
    calls = 0

    def noise(shape: tuple[int, ...]) -> Tensor:
        nonlocal calls
        calls += 1
        return numbers(f"noise.{calls - 1}", shape).float()

    how = Sampling(steps=5, guidance=3.0, temperature=4.0, schedule=schedule, power=2.5)
    drawn = net.sample(torch.tensor(noted["classes"]), how, uniform=noise)
    assert drawn.tolist() == noted["samples"][schedule]


@pytest.mark.parametrize("name", ["l32", "b64", "s128"])
def test_released_generators_load_strictly(name):
    shapes = listing(f"generator_titok_{name}")
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in shapes.items()}
        config, ours = MaskGIT.released(SimpleNamespace(state=state, config={}))
        net = MaskGIT(config)
    assert config == MaskGITConfig.preset(name)
    assert config.sampling == SAMPLING[name]
    assert {key: tensor.shape for key, tensor in ours.items()} == {
        k: t.shape for k, t in net.state_dict().items()
    }


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="no generator is called 'b32': there are l32, b64, s128"):
        MaskGITConfig.preset("b32")


@pytest.mark.parametrize("kind", ["bert", "uvit"])
def test_it_learns_what_belongs_to_a_class(kind):
    torch.manual_seed(0)
    config = MaskGITConfig(
        kind=kind, tokens=6, codes=8, classes=3, width=32, layers=2, heads=4, hidden=64,
        sampling=Sampling(steps=4, guidance=2.0, temperature=1.0),
    )  # fmt: skip
    net, chance = MaskGIT(config), torch.Generator().manual_seed(0)
    table = torch.tensor([[0, 1, 2, 3, 4, 5], [5, 5, 6, 6, 7, 7], [2, 0, 2, 0, 2, 0]])
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(150):
        classes = torch.randint(3, (32,), generator=chance)
        optimizer.zero_grad()
        net.loss(table[classes], classes, generator=chance).backward()
        optimizer.step()
    classes = torch.tensor([0, 1, 2, 2, 1, 0])
    net.eval()
    drawn = net.sample(classes, generator=chance)
    assert (drawn == table[classes]).float().mean() > 0.9
    again = net.sample(classes, generator=torch.Generator().manual_seed(5))
    assert again.equal(net.sample(classes, generator=torch.Generator().manual_seed(5)))
    assert int(net.sample(torch.full((4,), -1), generator=chance).max()) < 8  # never the mask
