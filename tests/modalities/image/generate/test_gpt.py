"""GPT against the official module's outputs on a hash-filled tiny network, its cache, and what it must learn."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from released import filled, listing

from modalities.common.attention import Cache
from modalities.common.weights import load_weights, save_weights
from modalities.image.generate import generator_class, open_generator
from modalities.image.generate.gpt import GPT, GPTConfig, GPTSampling, likeliest

NOTED = json.loads((Path(__file__).parents[3] / "golden" / "image_gpt.json").read_text())


@pytest.fixture(scope="module")
def official() -> GPT:
    """A tiny released generator with hash-filled weights."""
    state = filled({key: tuple(shape) for key, shape in NOTED["keys"].items()})
    config, ours = GPT.released(SimpleNamespace(state=state, config={}))
    net = GPT(config)
    load_weights(net, ours)
    return net.eval()


def test_logits_are_those_of_the_official_module(official):
    codes, classes = torch.tensor(NOTED["codes"]), torch.tensor(NOTED["classes"])
    logits = official(codes[:, :-1], classes)
    rows = logits[:, ::5].flatten(1)[:, :24].tolist()
    assert rows == [pytest.approx(row, abs=2e-6, rel=1e-4) for row in NOTED["logits"]]
    last = logits[:, -1, :20].tolist()
    assert last == [pytest.approx(row, abs=2e-6, rel=1e-4) for row in NOTED["last"]]
    none = torch.full_like(classes, -1)
    assert official(codes[:, :-1], none)[0, 0, :20].tolist() == pytest.approx(
        NOTED["without"], abs=2e-6, rel=1e-4
    )
    inner = official.states(codes[:, :-1], none, layer=1).mean(1)[0, :20].tolist()
    assert inner == pytest.approx(NOTED["inner"], abs=2e-6, rel=1e-4)
    assert official.loss(codes, classes, drop=0.0).item() == pytest.approx(NOTED["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("none", {"guidance": 1.0}),
        ("none", {"guidance": 0.0}),
        ("constant", {"guidance": 3.0, "schedule": "constant"}),
        ("step", {"guidance": 6.0, "schedule": "late", "begin": 0.45}),
    ],
)
def test_greedy_samples_are_those_of_the_official_sampler(official, name, how):
    sampling = GPTSampling(temperature=1e-6, **how)
    found = official.sample(torch.tensor(NOTED["classes"]), sampling)
    assert found.tolist() == NOTED["greedy"][name]


@pytest.mark.parametrize("name", ["b", "l", "xl", "xxl"])
def test_released_sizes_load_strictly(name):
    with torch.device("meta"):
        shapes = listing(f"gigatok_GPT-{name.upper()}")
        config, ours = GPT.released(
            SimpleNamespace(state={k: torch.empty(s) for k, s in shapes.items()}, config={})
        )
        net = GPT(config)
    assert config == GPTConfig.preset(name)
    assert {k: tuple(t.shape) for k, t in ours.items()} == {
        k: tuple(t.shape) for k, t in net.state_dict().items()
    }


def test_cached_steps_give_the_logits_of_one_pass(official):
    codes, classes = torch.tensor(NOTED["codes"]), torch.tensor(NOTED["classes"])
    whole = official(codes[:, :-1], classes)
    caches = [Cache(12) for _ in official.blocks]
    pieces = [official(codes[:, :n], classes, caches=caches) for n in (0, 1, 4, 5, 11)]
    assert [piece.shape[1] for piece in pieces] == [1, 1, 3, 1, 6]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_the_guidance_sets_in_late():
    how = GPTSampling(guidance=2.0, begin=0.18)
    scales = [how.scale(place, 256) for place in range(256)]
    assert scales[0] == 2.0
    assert scales[1:46] == [1.0] * 45
    assert scales[46:] == [2.0] * 210  # 46 / 255 = 0.1804
    assert {how.model_copy(update={"schedule": "constant"}).scale(p, 256) for p in range(256)} == {2.0}


def test_only_the_likeliest_codes_stay():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]).log()
    assert torch.isfinite(likeliest(logits, top_k=2)).tolist() == [
        [True, True, False, False],
        [False, False, True, True],
    ]
    for top_p, kept in ((0.4, 1), (0.6, 2), (0.9, 3), (1.0, 4)):
        assert torch.isfinite(likeliest(logits, top_p=top_p)).sum(-1).tolist() == [kept, kept]
    assert likeliest(logits, top_k=9).equal(logits)


def test_too_many_codes_and_layers_that_are_not_there_are_refused(official):
    with pytest.raises(ValueError, match="13 codes, but this generator writes 12"):
        official(torch.zeros(1, 13, dtype=torch.long), torch.tensor([0]))
    with pytest.raises(ValueError, match="layer 4, but this generator has layers 1 to 3"):
        official.states(torch.zeros(1, 3, dtype=torch.long), torch.tensor([0]), layer=4)


def test_it_learns_what_belongs_to_a_class_and_opens_from_its_file(tmp_path):
    torch.manual_seed(0)
    config = GPTConfig(
        tokens=6,
        codes=8,
        classes=3,
        width=32,
        layers=2,
        heads=4,
        hidden=64,
        sampling=GPTSampling(guidance=1.5),
    )
    net, chance = GPT(config), torch.Generator().manual_seed(0)
    table = torch.tensor([[0, 1, 2, 3, 4, 5], [5, 5, 6, 6, 7, 7], [2, 0, 2, 0, 2, 0]])
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(120):
        classes = torch.randint(3, (32,), generator=chance)
        optimizer.zero_grad()
        net.loss(table[classes], classes, generator=chance).backward()
        optimizer.step()
    classes = torch.tensor([0, 1, 2, 2, 1, 0])
    drawn = net.eval().sample(classes, generator=chance)
    assert (drawn == table[classes]).float().mean() > 0.9
    seeds = [torch.Generator().manual_seed(s) for s in (1, 1, 2)]
    none = torch.full((8,), -1)
    first, again, other = (net.sample(none, GPTSampling(temperature=3.0), g) for g in seeds)
    assert first.equal(again)
    assert not first.equal(other)
    written = {"generator": "gpt", "model": config.model_dump(mode="json")}
    save_weights(tmp_path / "gpt.safetensors", net, written, half=False)
    back = open_generator(tmp_path / "gpt.safetensors")
    assert isinstance(back, generator_class("gpt")[0])
    codes = table[:, :-1]
    with torch.no_grad():
        assert back(codes, torch.arange(3)).equal(net(codes, torch.arange(3)))
