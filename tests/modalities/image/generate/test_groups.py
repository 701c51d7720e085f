"""DetailFlow's generator against the official module's outputs, its cache, its number of forwards, and what it learns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from released import agrees, filled, golden, listing, numbers

from modalities.common.weights import load_weights, save_weights
from modalities.image.detail import group_causal
from modalities.image.generate import generator_class, open_generator
from modalities.image.generate.groups import Groups, GroupsConfig, GroupsSampling
from unitok.strict import ConfigError, validate

NOTED = json.loads((Path(__file__).parents[3] / "golden" / "detailflow.json").read_text())["generator"]
SMALL = {
    "tokens": 12,
    "group": 4,
    "codes": 8,
    "classes": 3,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "hidden": 64,
}


@pytest.fixture(scope="module")
def official() -> Groups:
    """A tiny released generator with hash-filled weights."""
    state = filled({key: tuple(shape) for key, shape in NOTED["keys"].items()})
    config, ours = Groups.released(SimpleNamespace(state=state, config={"block_size": 24}))
    net = Groups(config)
    load_weights(net, ours)
    return net.eval()


def small(**options: object) -> Groups:
    torch.manual_seed(0)
    net = Groups(GroupsConfig.model_validate({**SMALL, **options})).eval()
    with torch.no_grad():
        for parameter in net.parameters():  # so that every code is likely, and none equally
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def test_logits_are_those_of_the_official_module(official):
    codes, classes = torch.tensor(NOTED["codes"]), torch.tensor(NOTED["classes"])
    with torch.no_grad():
        agrees(official(codes[:, :16], classes), NOTED["logits"])
        agrees(official(codes[:, :5], classes), NOTED["serial"])
        assert official.loss(codes, classes, drop=0.0).item() == pytest.approx(NOTED["loss"], rel=1e-5)


def test_greedy_samples_are_those_of_the_official_sampler(official):
    sampling = GroupsSampling(guidance=1.5, temperature=1e-5)
    assert official.sample(torch.tensor(NOTED["classes"]), sampling).tolist() == NOTED["greedy"]


def test_logits_mask_and_rotations_are_the_noted_ones_of_the_shared_listing():
    noted, shapes = golden("detailflow"), {key: tuple(shape) for key, shape in NOTED["keys"].items()}
    _, ours = Groups.released(SimpleNamespace(state=filled(shapes), config={}))
    net = Groups(GroupsConfig(tokens=24, codes=64, classes=10, width=128, layers=2, heads=4, hidden=512))
    load_weights(net, ours)
    codes = (numbers("ar.idx", (2, 16)) * 64).long()
    with torch.no_grad():
        agrees(net.eval()(codes, torch.tensor([3, 7])), noted["gpt_tiny"])
    assert group_causal(24, 8).int().tolist() == noted["gpt_tiny_mask"]
    rotate = net.turn(0, 24)
    pair = torch.tensor([1.0, 0.0]).repeat(16).expand(1, 1, 24, 32)  # turned it shows cosine and sine
    agrees(
        torch.cat([rotate(pair), last_row(net)], dim=2).reshape(25, 16, 2), noted["gpt_tiny_freqs"], rtol=2e-4
    )


def last_row(net: Groups) -> torch.Tensor:
    """Cosines and sines of the table's last row, which no place of a whole picture uses: [1, 1, 1, 32]."""
    angle = net.angles(25)[-1]
    return torch.stack([angle.cos(), angle.sin()], dim=-1).float().reshape(1, 1, 1, 32)


def test_the_released_size_loads_strictly():
    with torch.device("meta"):
        shapes = listing("detailflow_gpt_l")
        state = {key: torch.empty(shape) for key, shape in shapes.items()}
        config, ours = Groups.released(SimpleNamespace(state=state, config={}))
        net = Groups(config)
    assert config == GroupsConfig.preset("l")
    assert {k: tuple(t.shape) for k, t in ours.items()} == {
        k: tuple(t.shape) for k, t in net.state_dict().items()
    }
    assert GroupsConfig.preset("l", 512).sampling.guidance == 1.32


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_sampling_with_a_cache_draws_what_recomputing_everything_draws(scale):
    net, classes = small(), torch.tensor([0, 2, -1])
    sampling = GroupsSampling(guidance=scale, temperature=0.7)
    found = net.sample(classes, sampling, torch.Generator().manual_seed(4))
    chance, ids = torch.Generator().manual_seed(4), torch.zeros(3, 0, dtype=torch.long)
    with torch.no_grad():
        while ids.shape[1] < 12:
            new = 1 if ids.shape[1] < 4 else 4
            logits = net(ids, classes)[:, -new:]
            if scale:
                without = net(ids, torch.full_like(classes, -1))[:, -new:]
                logits = without + scale * (logits - without)
            drawn = torch.multinomial((logits.flatten(0, 1) / 0.7).softmax(-1), 1, generator=chance)
            ids = torch.cat([ids, drawn.view(3, new)], dim=1)
    assert found.equal(ids)
    assert len({tuple(row) for row in found.tolist()}) > 1


@pytest.mark.parametrize(("tokens", "group"), [(12, 4), (24, 8), (128, 8)])
def test_a_group_takes_one_forward(tokens, group, monkeypatch):
    net, calls = small(tokens=tokens, group=group), []
    forward = net.forward

    def counted(codes, classes, caches=None):
        calls.append((codes.shape[1], len(codes)))
        return forward(codes, classes, caches)

    monkeypatch.setattr(net, "forward", counted)
    ids = net.sample(torch.tensor([0, 1]), GroupsSampling(guidance=1.5), torch.Generator().manual_seed(0))
    assert ids.shape == (2, tokens)
    assert len(calls) == group + tokens // group - 1
    assert [count for count, _ in calls] == [*range(group), *range(group, tokens, group)]
    assert {rows for _, rows in calls} == {4}  # with and without the class together


def test_codes_of_a_group_do_not_see_each_other_before_they_are_drawn():
    net, classes = small(), torch.tensor([1])
    codes = torch.arange(8).remainder(8).unsqueeze(0)
    with torch.no_grad():
        whole = net(codes, classes)
        other = codes.clone()
        other[:, 5] = 7
        changed = net(other, classes)
    assert whole.shape == (1, 12, 8)
    torch.testing.assert_close(whole[:, :8], changed[:, :8])  # codes 0 to 7 come from places before code 5
    assert (whole[:, 8:] - changed[:, 8:]).abs().amax(-1).gt(1e-5).all()  # the whole next group sees it


def test_corrected_rows_are_written_on_from_the_wrong_piece():
    net, classes = small(dropout=0.0).train(), torch.tensor([0, 1])
    torch.manual_seed(2)
    triples = torch.randint(8, (2, 12, 3))
    clean, wrong, label = triples.unbind(-1)

    def entropy(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        logits = net(given[:, :8], classes)
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted)

    torch.testing.assert_close(net.loss(triples, classes, drop=0.0, correction=1.0), entropy(wrong, label))
    torch.testing.assert_close(net.loss(triples, classes, drop=0.0, correction=0.0), entropy(clean, clean))
    net.eval()  # what is judged is the true picture
    torch.testing.assert_close(
        net.loss(triples, classes, drop=0.0, correction=1.0), net.loss(clean, classes, drop=0.0)
    )


def test_what_cannot_be_written_is_refused():
    net = small()
    with pytest.raises(
        ValueError, match="6 codes: give fewer than 4, or whole groups of 4 that are not yet 12"
    ):
        net(torch.zeros(1, 6, dtype=torch.long), torch.tensor([0]))
    with pytest.raises(ValueError, match="12 codes: give fewer than 4"):
        net(torch.zeros(1, 12, dtype=torch.long), torch.tensor([0]))
    with pytest.raises(ConfigError, match="tokens 12 are no whole groups of 8"):
        validate(GroupsConfig, {"tokens": 12}, "[model]")
    with pytest.raises(ValueError, match="no generator of groups is called 's': there are b, l, xl, xxl"):
        GroupsConfig.preset("s")


def test_it_learns_what_belongs_to_a_class_and_opens_from_its_file(tmp_path):
    torch.manual_seed(0)
    config = GroupsConfig.model_validate({**SMALL, "sampling": {"guidance": 1.5}})
    net, chance = Groups(config), torch.Generator().manual_seed(0)
    table = torch.stack([torch.arange(12) % 8, 7 - torch.arange(12) % 8, torch.arange(12) % 2 * 2])
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(120):
        classes = torch.randint(3, (32,), generator=chance)
        optimizer.zero_grad()
        net.loss(table[classes], classes, generator=chance).backward()
        optimizer.step()
    classes = torch.tensor([0, 1, 2, 2, 1, 0])
    drawn = net.eval().sample(classes, generator=chance)
    assert (drawn == table[classes]).float().mean() > 0.9
    written = {"generator": "groups", "model": config.model_dump(mode="json")}
    save_weights(tmp_path / "groups.safetensors", net, written, half=False)
    back = open_generator(tmp_path / "groups.safetensors")
    assert isinstance(back, generator_class("groups")[0])
    with torch.no_grad():
        assert back(table[:, :8], torch.arange(3)).equal(net(table[:, :8], torch.arange(3)))


def test_a_released_file_opens_by_its_kind(tmp_path):
    state = filled({key: tuple(shape) for key, shape in NOTED["keys"].items()})
    (tmp_path / "config.json").write_text('{"block_size": 24}')
    other = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    torch.save({"model": other, "ema": state, "steps": 2}, tmp_path / "0000002.pt")
    net = open_generator(tmp_path / "0000002.pt", "groups")
    assert net.config.tokens == 24
    assert net.embed.weight.equal(state["tok_embeddings.weight"])
