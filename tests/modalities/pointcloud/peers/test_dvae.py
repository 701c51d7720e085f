"""The patch dVAE: what its codes and centres decode to, its bottleneck, its training task."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from modalities.common.weights import WeightsMismatch, save_weights
from modalities.pointcloud.peers.dvae import DVAEConfig, PatchDVAE
from modalities.pointcloud.peers.gumbel import Gumbel
from modalities.pointcloud.peers.training import PatchTask, load_peer, through
from unitok.strict import ConfigError

ROOT = Path(__file__).parents[4]
MODEL = {"inputs": 48, "groups": 8, "neighbours": 6, "codes": 16, "width": 12, "coarse": 3}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = Generator().manual_seed(0)
    sides = 0.2 + torch.rand(60, 1, 3, generator=generator)
    clouds = 2 * torch.rand(60, 160, 3, generator=generator) - 1
    most = clouds.abs().argmax(-1, keepdim=True)
    clouds = clouds.scatter(2, most, clouds.gather(2, most).sign()) * sides  # on the faces
    path = tmp_path_factory.mktemp("clouds") / "boxes.npz"
    np.savez(path, points=clouds.numpy().astype(np.float16))
    return path


def net(**changes: int) -> PatchDVAE:
    torch.manual_seed(0)
    return PatchDVAE(DVAEConfig(**{**MODEL, **changes})).eval().requires_grad_(False)


def cloud() -> Tensor:
    return torch.randn(2, 48, 3, generator=Generator().manual_seed(1)) / 3


def test_shapes_and_published_sizes() -> None:
    ids, made, centres = through(net(), cloud())
    assert ids.shape == (2, 8)
    assert made.shape == (2, 8 * 3 * 4, 3)
    assert centres.shape == (2, 8, 3)
    published = DVAEConfig()
    assert (published.groups, published.neighbours, published.codes) == (64, 32, 8192)
    assert published.points == 2048


def test_a_decoded_cloud_moves_with_its_centres_which_no_code_holds() -> None:
    peer = net()
    ids, made, centres = through(peer, cloud())
    moved = peer.decode(ids, centres + 5)
    assert torch.allclose(moved, made + 5, atol=1e-5)
    assert through(peer, cloud() + 0)[0].equal(ids)


def test_a_code_changes_its_own_patch_and_those_that_see_it() -> None:
    peer = net(graph=1)  # each patch sees itself alone
    ids, made, centres = through(peer, cloud())
    other = ids.clone()
    other[0, 3] = (ids[0, 3] + 1) % 16
    apart = (peer.decode(other, centres) - made).reshape(2, 12, 8, 3).abs().amax((1, 3))
    assert (apart > 0).nonzero().tolist() == [[0, 3]]


def test_first_points_lie_in_all_patches() -> None:
    peer = net()
    ids, made, centres = through(peer, cloud())
    offsets = (made.reshape(2, 12, 8, 3) - centres[:, None]).norm(dim=-1)
    assert float(offsets.max()) < 1.5  # point s * 8 + g lies around centre g
    assert made[:, :8].sub(centres).norm(dim=-1).max() < 1.5


def test_the_order_of_points_does_not_matter() -> None:
    peer, points = net(), cloud()
    turned = points[:, torch.randperm(48, generator=Generator().manual_seed(0))]
    assert through(peer, turned)[0].equal(through(peer, points)[0])


def test_gumbel_draws_as_the_softmax_says_and_cools_to_one_code() -> None:
    torch.manual_seed(0)
    bottleneck = Gumbel(3, 3)
    with torch.no_grad():
        bottleneck.codebook.copy_(torch.eye(3))  # a latent shows its own mixture
    logits = torch.tensor([0.0, 1.0, 2.0])
    bottleneck.temperature = 1e-4
    drawn = bottleneck(logits.expand(1, 20000, 3)).z_q[0]
    assert float(drawn.amax(-1).mean()) > 0.99
    assert torch.allclose(drawn.mean(0), logits.softmax(0), atol=0.02)
    bottleneck.eval()
    assert bottleneck(logits[None, None]).z_q.tolist() == [[[0.0, 0.0, 1.0]]]
    ids = torch.tensor([[2, 0]])
    assert bottleneck.encode(bottleneck.inverse(ids)).equal(ids)
    assert bottleneck.margin(logits[None, None]).tolist() == [[1.0]]


def test_the_divergence_is_that_from_even_use() -> None:
    bottleneck = Gumbel(4, 2)
    bottleneck.weight = 2.0
    even = 50 * torch.eye(4)[None]
    assert float(bottleneck(even).losses["uniform"]) == pytest.approx(0, abs=1e-5)
    one = 50 * torch.eye(4)[:1][None]
    assert float(bottleneck(one).losses["uniform"]) == pytest.approx(2 * math.log(4), abs=1e-4)
    bottleneck.weight = 0.0
    assert bottleneck(one).losses == {}


def test_annealing_follows_the_steps(boxes: Path) -> None:
    task = PatchTask(MODEL, {"train": boxes.name}, boxes.parent)
    found = []
    for step in (0, 25, 50, 100):
        task.before_step(step, 100)
        found.append((task.quantizer.temperature, task.quantizer.weight))
    assert found[0] == (1.0, 0.0)
    assert found[1][0] == pytest.approx((1 + 0.0625) / 2)
    assert 0 < found[1][1] < 0.05
    assert found[2][0] == found[3][0] == pytest.approx(0.0625)
    assert found[3][1] == pytest.approx(0.1)


def test_it_learns_and_every_parameter_has_a_gradient(boxes: Path) -> None:
    torch.manual_seed(0)
    task = PatchTask(MODEL, {"train": boxes.name, "plain": 1.0}, boxes.parent)
    task.model.train()
    errors = []
    optimizer = torch.optim.AdamW(task.parameter_groups(5e-3))
    for step in range(60):
        task.before_step(step, 60)
        batch = task.batch(torch.arange(step % 3, 48, 3), Generator().manual_seed(step))
        found = task.judge(batch, step=step)
        errors.append(float(found.figures["fine"]))
        optimizer.zero_grad()
        found.loss.backward()
        assert all(p.grad is not None for p in task.model.parameters())
        optimizer.step()
    task.model.eval()
    assert sum(errors[-10:]) < 0.95 * sum(errors[:10])
    assert task.codes(task.heldout).shape == (len(task.heldout), 8)


def test_the_tool_trains_and_its_file_opens(boxes: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("train_patch_dvae", ROOT / "tools" / "train_patch_dvae.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules["train_patch_dvae"] = tool  # pydantic looks its annotations up there
    spec.loader.exec_module(tool)
    weights = tmp_path / "peer.safetensors"
    figures = tool.main(
        [f"data.train={boxes}", *(f"model.{key}={value}" for key, value in MODEL.items())]
        + ["train.steps=2", "train.batch=4", "train.warmup=0", f"run={tmp_path / 'run'}", f"output={weights}"]
    )
    assert figures["baselines"]["the centres alone"] > figures["baselines"]["another sampling (floor)"]
    assert figures["codes"]["bits_per_item"] == 8 * 4
    peer = load_peer(weights)
    assert peer.config == DVAEConfig(**MODEL)
    assert not any(p.requires_grad for p in peer.parameters())
    assert json.loads(weights.with_suffix(".json").read_text())["made"]["fidelity"] == figures["fidelity"]


def test_refusals_are_one_sentence(boxes: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.inputs = 160 and model\.groups = 8"):
        PatchTask({**MODEL, "inputs": 160}, {"train": boxes.name}, boxes.parent)
    with pytest.raises(ConfigError, match="did you mean 'groups'"):
        PatchTask({"group": 8}, {"train": boxes.name}, boxes.parent)
    path = tmp_path / "other.safetensors"
    save_weights(path, net(), {**MODEL, "width": 24})
    with pytest.raises(WeightsMismatch, match="fit another model"):
        load_peer(path)
