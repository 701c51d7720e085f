"""Stages of training, and the running average of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modalities.common.ema import Average
from modalities.common.quantize import VQ
from modalities.common.stage import stage
from modalities.common.weights import WeightsMismatch


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"encoder": nn.Linear(2, 3), "decoder": nn.Linear(3, 2), "encoder_two": nn.Linear(1, 1)}
    )


def test_an_earlier_stage_gives_what_it_has_and_frozen_parts_stay(tmp_path: Path):
    first = {"encoder.weight": torch.ones(3, 2), "encoder.bias": torch.ones(3)}
    save_file(first, tmp_path / "one.safetensors")
    second = net()
    start = second["decoder"].weight.clone()
    stage(second, tmp_path / "one.safetensors", ["encoder"])
    assert second["encoder"].weight.equal(torch.ones(3, 2))
    assert second["decoder"].weight.equal(start)
    trains = {name for name, p in second.named_parameters() if p.requires_grad}
    assert trains == {"decoder.weight", "decoder.bias", "encoder_two.weight", "encoder_two.bias"}


def test_a_file_of_another_network_and_an_unknown_part_are_refused(tmp_path: Path):
    save_file({"encoder.weight": torch.ones(3, 5)}, tmp_path / "x.safetensors")
    with pytest.raises(
        WeightsMismatch, match=r"1 of its tensors do not fit this network, first encoder\.weight"
    ):
        stage(net(), tmp_path / "x.safetensors")
    with pytest.raises(
        ValueError, match="freeze names 'enc', which the network does not have: its parts are encoder"
    ):
        stage(net(), None, ["enc"])
    with pytest.raises(ValueError, match="leaves nothing to train"):
        stage(net(), None, ["encoder", "decoder", "encoder_two"])


def test_the_average_follows_and_stands_in():
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
        average = Average(module, 0.9)
        for _ in range(3):
            module.weight.fill_(1.0)
            average.update(module)
    assert float(average.values["weight"]) == pytest.approx(1 - 0.9**3)
    with average.instead(module):
        assert module.weight.item() == pytest.approx(1 - 0.9**3)
    assert module.weight.item() == 1.0
    with pytest.raises(RuntimeError), average.instead(module):
        raise RuntimeError
    assert module.weight.item() == 1.0


def test_a_frozen_quantizer_keeps_its_codebook():
    for learn in ("ema", "gradient"):
        torch.manual_seed(0)
        quantizer = VQ(8, 2, learn=learn, cvq=learn == "gradient")
        module = nn.ModuleDict({"quantizer": quantizer, "decoder": nn.Linear(2, 2)})
        z = torch.randn(4, 3, 2)
        if learn == "ema":
            module["quantizer"].train()(z)
        stage(module, None, ["quantizer"])
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.train()["quantizer"](5 * z)
        assert all(tensor.equal(before[name]) for name, tensor in module.state_dict().items())
