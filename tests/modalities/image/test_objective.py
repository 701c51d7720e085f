"""The `[loss]` table: when each loss counts, what it asks for, and the VQGAN of a first stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from modalities.common.quantize import Quantized
from modalities.image.base import Reconstruction
from modalities.image.io import write_image
from modalities.image.objective import LossConfig, Objective, Term
from modalities.image.proxy import Proxy
from modalities.image.titok import TiTok
from unitok.strict import validate

SMALL = {"width": 32, "layers": 1, "heads": 2}


def made(**features: Tensor) -> Reconstruction:
    codes = Quantized(torch.zeros(2, 4, 3), None, {"commitment": torch.tensor(0.5)})
    return Reconstruction(torch.full((2, 3, 16, 16), 0.25), codes, features)


def objective(**table: Any) -> Objective:
    return Objective(validate(LossConfig, table, "[loss]"), Path())


def test_a_weight_starts_rises_and_stops() -> None:
    term = Term(weight=2.0, start=3, ramp=4, stop=9)
    assert [term.at(step) for step in range(11)] == [0, 0, 0, 0.5, 1, 1.5, 2, 2, 2, 0, 0]
    assert Term(weight=2.0).at(0) == 2.0


def test_losses_count_from_their_start_to_their_stop() -> None:
    losses = objective(l2=1.0, l1={"weight": 4.0, "start": 2, "stop": 3}, smooth_l1=0)
    found = [losses(made(), torch.zeros(2, 3, 16, 16), step) for step in range(4)]
    assert [set(each) - {"commitment", "l2"} for each in found] == [set(), set(), {"l1"}, set()]
    assert {name: float(value) for name, value in found[2].items()} == {
        "commitment": 0.5,
        "l2": 0.0625,
        "l1": 1.0,
    }


def test_a_step_that_asks_nothing_of_the_network_is_an_error() -> None:
    losses = objective(l2={"start": 5})
    with pytest.raises(ValueError, match="asks nothing of the network at step 4"):
        losses(made(), torch.zeros(2, 3, 16, 16), 4)
    assert losses(made(), torch.zeros(2, 3, 16, 16), 5)["l2"] > 0


def test_only_losses_of_pictures_make_a_network_paint() -> None:
    assert validate(LossConfig, {}, "[loss]").paints
    assert not validate(LossConfig, {"l2": 0, "proxy": {"vqgan": "x.bin"}}, "[loss]").paints
    with pytest.raises(ValueError, match="did you mean 'discriminator'"):
        validate(LossConfig, {"gan": {"discriminater": "patch"}}, "[loss]")


def released_name(name: str) -> str:
    """The name that a tensor of our `Proxy` has in the released file."""
    for ours, theirs in (
        ("decoder.codebook", "quantize.embedding.weight"),
        ("decoder.decoder.", "decoder."),
        (".middle.", ".mid."),
        ("encoder.levels.", "encoder.down."),
        ("norm_1", "norm1"),
        ("norm_2", "norm2"),
        ("conv_1", "conv1"),
        ("conv_2", "conv2"),
        ("shortcut", "nin_shortcut"),
    ):
        name = name.replace(ours, theirs)
    parts = name.split(".")
    if parts[0] == "decoder" and parts[1] in ("levels", "doubles"):  # ours run in order, theirs lie by level
        inner = ["block"] if parts[1] == "levels" else ["upsample_conv"]
        return ".".join(["decoder", "up", str(4 - int(parts[2])), *inner, *parts[3:]])
    if parts[1] == "down":
        parts.insert(3, "block")
    return ".".join(parts)


@pytest.mark.slow
def test_the_vqgan_of_the_first_stage_gives_codes_and_paints(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vqgan = Proxy()
    save_file({released_name(name): t for name, t in vqgan.state_dict().items()}, tmp_path / "v.safetensors")
    generator = torch.Generator().manual_seed(0)
    for n in range(30):
        red, green, blue = torch.randint(0, 255, (3,), generator=generator).tolist()
        image = Image.new("RGB", (32, 32), (red, green, blue))
        (tmp_path / f"{n}.png").write_bytes(write_image(image, ".png"))
    model = {"preset": "l32", "size": 32, "tokens": 4, "encoder": SMALL, "decoder": SMALL}
    loss = {"l2": 0, "proxy": {"vqgan": "v.safetensors"}}
    task = TiTok.training_task(model, {"train": ["."], "kmeans": 0}, tmp_path, loss)
    painter, released = task.model.proxy.state_dict(), vqgan.decoder.state_dict()  # type: ignore[union-attr]
    assert all(painter[name].equal(released[name]) for name in released)
    (pictures,) = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    out = task.judge(pictures, step=0)
    assert set(out.figures) == {"commitment", "codebook", "proxy"}
    assert 5 < float(out.figures["proxy"]) < 9  # about the logarithm of 1024, for nothing is learnt
    out.loss.backward()
    assert task.model.to_proxy[0].weight.grad.abs().sum() > 0  # type: ignore[index, union-attr, operator]
    assert all(p.grad is None for p in task.model.proxy.parameters())  # type: ignore[union-attr]
