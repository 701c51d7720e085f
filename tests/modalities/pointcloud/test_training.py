"""The network's pieces and the training task, on tiny clouds."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from modalities.common.nested import draw
from modalities.common.training import held_out
from modalities.pointcloud import io
from modalities.pointcloud.config import TokenizerConfig
from modalities.pointcloud.network import PointNet, TokenizerNet, sphere_patches
from modalities.pointcloud.training import CloudTask
from modalities.pointcloud.transport import sphere

MODEL = {
    "inputs": 48, "points": 64, "anchors": 16, "stages": ((1, (12,)), (2, (4, 3)), (1, (3, 2, 2))),
    "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "patches": 4, "neighbours": 4, "bands": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty boxes of 160 points, as .npz and as .jsonl."""
    generator = Generator().manual_seed(0)
    sides = 0.2 + torch.rand(60, 1, 3, generator=generator)
    clouds = (2 * torch.rand(60, 160, 3, generator=generator) - 1) * sides
    root = tmp_path_factory.mktemp("clouds")
    np.savez(root / "boxes.npz", points=clouds.numpy().astype(np.float16))
    lines = []
    for i, cloud in enumerate(clouds[:12]):
        (root / f"{i}.ply").write_bytes(io.write(cloud, ".ply"))
        split = {"split": "heldout" if i < 3 else "train"} if i < 6 else {}
        lines.append(json.dumps({"key": f"box/{i}", "cloud": {"file": f"{i}.ply"}, **split}))
    (root / "boxes.jsonl").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def task(folder: Path) -> CloudTask:
    torch.manual_seed(0)
    task = CloudTask(MODEL, {"train": "boxes.npz", "fit": 2}, folder)
    task.start()
    return task


def test_the_split_is_that_of_the_keys(task: CloudTask, folder: Path) -> None:
    out = [held_out(f"furniture/{i}") for i in range(60)]
    assert (len(task.train), len(task.heldout)) == (60 - sum(out), sum(out))
    listed = CloudTask(MODEL, {"train": "boxes.jsonl"}, folder)
    assert len(listed.heldout) == 3 + sum(held_out(f"box/{i}") for i in range(6, 12))


def test_the_shipped_config_finds_the_demo_clouds() -> None:
    path = Path(__file__).parents[3] / "recipes" / "configs" / "pointcloud" / "cloud.toml"
    tree = tomllib.loads(path.read_text())
    found = CloudTask(tree["model"], tree["data"], path.parent)
    assert len(found.train) > 8 * len(found.heldout) > 0
    records = [json.loads(line) for line in (path.parents[2] / "demo" / "clouds.jsonl").open()]
    for record in records:  # the demo's split and that of the shipped weights are one
        assert held_out(record["key"]) == (record["split"] == "heldout")


def test_bad_data_is_named(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", points=np.zeros((1, 5, 3)))
    with pytest.raises(ValueError, match="both sides need some"):
        CloudTask(MODEL, {"train": "one.npz"}, tmp_path)
    np.savez(tmp_path / "flat.npz", points=np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"flat.npz: points has shape"):
        CloudTask(MODEL, {"train": "flat.npz"}, tmp_path)
    with pytest.raises(ValueError, match="160 points and 160 are encoded"):
        CloudTask({**MODEL, "inputs": 160}, {"train": "boxes.npz"}, folder)
    with pytest.raises(ValueError, match="did you mean 'anchors'"):
        CloudTask({"anchor": 3}, {"train": "boxes.npz"}, folder)


def test_batches_hold_inputs_in_the_unit_sphere_and_other_points(task: CloudTask) -> None:
    batch = task.batch(torch.arange(5), Generator().manual_seed(3))
    assert batch.shape == (5, 160, 3)
    given = batch[:, :48]
    assert given.mean(1).abs().max() < 1e-5
    assert torch.allclose(given.norm(dim=-1).amax(1), torch.ones(5), atol=1e-5)
    assert torch.cdist(given[0].double(), batch[0, 48:].double()).min() > 0
    assert batch.equal(task.batch(torch.arange(5), Generator().manual_seed(3)))


def test_the_start_is_a_tokenizer_and_steps_lower_the_loss(task: CloudTask) -> None:
    lines = task.baselines()
    assert lines["quantised transport PCA, our start"] < lines["another object"]
    assert task.fidelity()["cd1"] == lines["quantised transport PCA, our start"]
    assert task.codes(task.heldout).shape == (len(task.heldout), 4)
    task.model.train()
    optimizer = torch.optim.AdamW(task.parameter_groups(3e-3))
    batch = task.batch(torch.arange(32), Generator().manual_seed(0))
    losses = []
    for _ in range(25):
        torch.manual_seed(0)
        loss = task.judge(batch, step=0).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in task.model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.97 * losses[0]


def test_a_step_runs_in_bf16(task: CloudTask) -> None:
    """The linear path adds halved corrections to whole points: once a type error."""
    task.model.train()
    task.model.linear.out_basis.data.normal_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = task.judge(task.batch(torch.arange(8), Generator().manual_seed(0)), step=0).loss
    loss.backward()
    assert loss.isfinite()
    assert task.model.to_patch.weight.grad.abs().sum() > 0


def test_decoding_a_prefix_ignores_what_follows() -> None:
    torch.manual_seed(0)
    net = TokenizerNet(TokenizerConfig(**MODEL)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        net.linear.out_basis.normal_()
        net.to_patch.weight.normal_(std=0.1)
        z_q = torch.rand(2, 4, net.quantizer.dim) * 2 - 1
        kept = torch.tensor([2, 4])
        both = net.decode(z_q, kept)
        assert torch.allclose(both[:1], net.decode(z_q[:1, :2]), atol=1e-6)
        assert torch.allclose(both[1:], net.decode(z_q[1:]), atol=1e-6)
        assert not torch.allclose(both[1:], net.decode(z_q[1:, :3]), atol=1e-3)


def test_nested_lengths_cover_all_and_favour_whole_and_short() -> None:
    torch.manual_seed(0)
    kept = draw("log", range(1, 65), 4000, full=0.5)
    assert kept.min() == 1
    assert kept.max() == 64
    assert 0.45 < (kept == 64).float().mean() < 0.57
    assert (kept <= 8).float().mean() > 0.2


def test_the_sphere_is_cut_into_compact_patches_of_equal_size() -> None:
    reference = sphere(128)
    index = sphere_patches(reference, 4)
    assert index.shape == (16, 8)
    assert index.flatten().sort().values.equal(torch.arange(128))
    patches: Tensor = reference[index]
    assert (patches - patches.mean(1, keepdim=True)).norm(dim=-1).mean() < 0.3
    with pytest.raises(ValueError, match="9 x 9"):
        sphere_patches(reference, 9)


def test_a_patch_has_no_order() -> None:
    torch.manual_seed(0)
    net = PointNet(8)
    patches = torch.randn(2, 3, 5, 3)
    assert torch.allclose(net(patches), net(patches.flip(2)), atol=1e-6)
