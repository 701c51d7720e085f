"""Released FlowTok files load strictly, and latents, velocities and samples equal the official modules'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from flow_toys import GOLDEN, SHAPES, tiny
from released import agrees, filled, listing, numbers
from torch import Tensor

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import WeightsMismatch, load_weights
from modalities.image.flow.config import SIZES, FlowConfig
from modalities.image.flow.net import FlowNet
from modalities.image.flow.released import open_flow, released

MILLIONS = {"S": 56.8, "B": 153.9, "L": 481.2, "XL": 698.1, "H": 1092.1}


@pytest.mark.parametrize("size", SIZES)
def test_every_size_loads_strictly_and_is_known_by_its_shapes(size: str) -> None:
    listed = listing(f"flowtok_{size}")
    with torch.device("meta"):
        config, ours = released(Checkpoint({key: torch.empty(shape) for key, shape in listed.items()}))
        own = FlowNet(config).state_dict()
    assert config == FlowConfig.preset(size)
    assert {key: tuple(t.shape) for key, t in ours.items()} == {key: tuple(t.shape) for key, t in own.items()}
    assert round(sum(t.numel() for t in own.values()) / 1e6, 1) == MILLIONS[size]


def compare(net: FlowNet, noted: dict[str, Any], text: Tensor) -> None:
    with torch.no_grad():
        mean, log = net.text_latents(text)
        agrees(mean, noted["mu"])
        agrees(log, noted["logvar"])
        agrees(net.align(text), noted["align"])
        assert float(net.contrast.log_scale) == pytest.approx(noted["temperature"], abs=1e-6)
        times = torch.tensor([0.1, 0.5])
        for name, null in (("v_cond", False), ("v_null", True)):
            agrees(net.velocity(mean, times, torch.tensor([null] * 2)), noted[name])
        agrees(net.draw(text), noted["euler"])  # 20 steps, guidance 2


def test_latents_velocities_and_samples_are_those_of_the_official_module() -> None:
    compare(tiny(), GOLDEN["tiny"], (2 * numbers("input.text", (2, 9, 24)) - 1).float())


@pytest.mark.slow
def test_the_smallest_size_gives_the_numbers_of_the_official_module() -> None:
    config, state = released(Checkpoint(filled(listing("flowtok_S"))))
    net = FlowNet(config)
    load_weights(net, state)
    compare(net.eval(), GOLDEN["S"], (2 * numbers("input.text", (2, 77, 768)) - 1).float())


def test_files_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    state = filled(SHAPES)
    torch.save(state, tmp_path / "flow.pth")
    assert open_flow(tmp_path / "flow.pth").config.tokens == 9
    with pytest.raises(ValueError, match="is 32 wide and has 2 layers, FlowTok-S 384 and 12"):
        open_flow(tmp_path / "flow.pth", "S")
    del state["blocks.1.attn.qkv.bias"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(WeightsMismatch, match=r"missing velocity.blocks.1.attn.qkv.bias"):
        open_flow(tmp_path / "cut.pth")
    torch.save({**filled(SHAPES), "extra.weight": torch.zeros(2)}, tmp_path / "more.pth")
    with pytest.raises(WeightsMismatch, match=r"unexpected extra.weight"):
        open_flow(tmp_path / "more.pth")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsMismatch, match="has no tensor 'x_embedder.weight'"):
        open_flow(tmp_path / "other.pth")


def test_a_size_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no FlowTok is called 'M': there are S, B, L, XL, H"):
        FlowConfig.preset("M")
