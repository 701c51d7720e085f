"""Colours of clouds: files that have them, pictures, variants, and training with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from modalities.pointcloud import io
from modalities.pointcloud.base import CloudModality
from modalities.pointcloud.data import from_npz
from modalities.pointcloud.ply import read_ply, write_ply
from modalities.pointcloud.render import render
from modalities.pointcloud.tokenizer import PointTokenizer
from modalities.pointcloud.training import CloudTask

MODEL = {
    "rgb": True, "linear": False, "queries": 4, "latents": 4, "quantizer": {"kind": "vq", "codes": 16, "dim": 6},
    "inputs": 48, "points": 64, "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "patches": 4,
    "neighbours": 4,
}  # fmt: skip
HEAD = "ply\nformat ascii 1.0\nelement vertex 2\n" + "".join(f"property float {axis}\n" for axis in "xyz")


def ball(count: int = 200) -> Tensor:
    """Points on a sphere whose colour is their place."""
    points = torch.nn.functional.normalize(torch.randn(count, 3, generator=Generator().manual_seed(0)), dim=1)
    return torch.cat([points, (points + 1) / 2], 1)


@pytest.mark.parametrize("suffix", [".obj", ".npy", ".npz"])
def test_formats_that_keep_every_bit_of_a_colour(suffix: str) -> None:
    assert io.read(io.write(ball(), suffix), suffix).equal(ball())


@pytest.mark.parametrize("ascii", [False, True])
def test_ply_keeps_colours_as_bytes(ascii: bool) -> None:
    data = write_ply(ball().numpy(), ascii=ascii)
    found = io.read(data, ".ply")
    assert found.shape == (200, 6)
    assert found[:, :3].equal(ball()[:, :3])
    assert float((found[:, 3:] - ball()[:, 3:]).abs().max()) <= 0.5 / 255 + 1e-6
    assert b"property uchar red" in data
    assert io.read(io.write(ball(), ".xyz"), ".xyz").shape == (200, 3)


@pytest.mark.parametrize(("kind", "value"), [("uchar", "51"), ("ushort", "13107"), ("float", "0.2")])
def test_ply_colours_of_any_type_are_shares_of_one(kind: str, value: str) -> None:
    head = HEAD + "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
    found, _ = read_ply(f"{head}end_header\n0 0 0 0 0 0\n1 2 3 {value} 0 0\n".encode())
    assert found[1] == pytest.approx([1, 2, 3, 0.2, 0, 0])


def test_a_mesh_blends_the_colours_of_its_corners() -> None:
    data = b"v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 0 0 1\nf 1 2 3\n"
    found = io.read(data, ".obj")
    assert found.shape == (2048, 6)
    assert torch.allclose(found[:, 5], found[:, 1], atol=1e-6)  # blue grows with y
    assert torch.allclose(found[:, 3], 1 - found[:, 1], atol=1e-6)
    assert io.read(data.replace(b" 0 0 1\n", b"\n"), ".obj").shape == (2048, 3)  # a corner without a colour


def test_columns_that_are_no_colours_are_dropped() -> None:
    normals = ball() * torch.tensor([1.0, 1, 1, 2, 2, 2]) - torch.tensor([0.0, 0, 0, 1, 1, 1])
    assert io.painted(normals).equal(ball()[:, :3])
    assert io.painted(ball()).equal(ball())
    assert io.painted(torch.cat([ball(), ball()], 1)).equal(ball())
    assert PointTokenizer().encode([ball()])[0].ids.equal(PointTokenizer().encode([ball()[:, :3]])[0].ids)


def test_pictures_and_variants_keep_colours() -> None:
    red = torch.cat([ball(1500)[:, :3], torch.tensor([1.0, 0, 0]).expand(1500, 3)], 1)
    seen = np.asarray(render(red, 64)).astype(int)[24:40, 24:40]
    assert seen[..., 0].mean() > 4 * seen[..., 1:].mean()
    assert np.array_equal(np.asarray(PointTokenizer().show(red)), np.asarray(render(red)))
    made = CloudModality.variants(PointTokenizer(), red, 4)
    assert [each.shape for each in made] == [(1500, 6)] * 4
    assert all(each[:, 3:].equal(red[:, 3:]) for each in made)
    assert not made[2][:, :3].equal(made[0][:, :3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty boxes of 160 points, each of one colour, in an .npz and as ten .ply of which one has no colour."""
    generator = Generator().manual_seed(0)
    sides = 0.2 + torch.rand(60, 1, 3, generator=generator)
    clouds = (2 * torch.rand(60, 160, 3, generator=generator) - 1) * sides
    shades = torch.rand(60, 1, 3, generator=generator).expand(60, 160, 3)
    root = tmp_path_factory.mktemp("coloured")
    stack = torch.cat([clouds, shades], -1).numpy()
    np.savez(root / "boxes.npz", points=stack)
    np.savez(root / "plain.npz", points=stack[..., :3])
    np.savez(root / "loud.npz", points=stack * 300)
    return root


def test_training_reads_and_learns_colours(folder: Path) -> None:
    found = from_npz(folder / "boxes.npz")
    assert found.points.shape == (60, 160, 3)
    assert found.colours is not None
    assert found.take(torch.tensor([2])).colours.equal(found.colours[2:3])  # type: ignore[union-attr]
    torch.manual_seed(0)
    task = CloudTask(MODEL, {"train": "boxes.npz"}, folder)
    batch = task.batch(torch.arange(5), Generator().manual_seed(3))
    assert batch.shape == (5, 160, 6)
    assert torch.allclose(batch[:, :48, :3].norm(dim=-1).amax(1), torch.ones(5), atol=1e-5)
    assert batch[..., 3:].equal(task.train[:5, :1, 3:].float().expand(5, 160, 3))  # turns leave them alone
    before, losses = task.fidelity(), []
    optimizer = torch.optim.AdamW(task.parameter_groups(1e-2))
    task.model.train()
    for step in range(40):
        found_loss = task.judge(task.batch(torch.arange(40), Generator().manual_seed(step)), step=step)
        optimizer.zero_grad()
        found_loss.loss.backward()
        optimizer.step()
        losses.append(float(found_loss.figures["colours"]))
    task.model.eval()
    assert sum(losses[-5:]) < sum(losses[:5])
    assert {"cd1", "colours"} <= set(before)
    assert task.fidelity()["cd1"] < before["cd1"]
    assert task.codes(task.heldout).shape == (len(task.heldout), 4)
    assert "another object" in task.baselines()


def test_colours_that_are_missing_or_out_of_range_are_named(folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"model.rgb = true, but plain.npz has no colours: give points \[n, N, 6\]"
    ):
        CloudTask(MODEL, {"train": "plain.npz"}, folder)
    with pytest.raises(ValueError, match=r"cloud 0 has colours outside \[0, 1\]"):
        CloudTask(MODEL, {"train": "loud.npz"}, folder)
    dull = CloudTask({**MODEL, "rgb": False}, {"train": "boxes.npz"}, folder)
    assert dull.train.shape[-1] == 3
