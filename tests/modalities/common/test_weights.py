"""Weight files: what is written comes back, what does not fit is refused, fingerprints see every change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modalities.common.weights import WeightsMismatch, fingerprint, load_weights, read_weights, save_weights


def test_round_trip_with_description(tmp_path: Path) -> None:
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(tmp_path / "a.safetensors", net, {"width": 3}, {"psnr": 20.0}, half=False)
    config, state = read_weights(tmp_path / "a.safetensors")
    load_weights(other, state)
    assert config == {"width": 3}
    assert torch.equal(other.weight, net.weight)
    assert json.loads((tmp_path / "a.json").read_text()) == {"config": {"width": 3}, "made": {"psnr": 20.0}}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_half_precision_halves_the_file_and_keeps_whole_numbers(tmp_path: Path) -> None:
    net = nn.Module()
    net.register_buffer("slot", torch.arange(5))
    net.register_parameter("weight", nn.Parameter(torch.randn(1000)))
    save_weights(tmp_path / "a.safetensors", net, {})
    _, state = read_weights(tmp_path / "a.safetensors")
    assert torch.equal(state["slot"], torch.arange(5))
    assert state["weight"].dtype == torch.float32
    assert (tmp_path / "a.safetensors").stat().st_size < 2500


def test_what_does_not_fit_is_listed_and_nothing_is_loaded() -> None:
    net = nn.Linear(3, 2)
    before = net.weight.clone()
    with pytest.raises(WeightsMismatch) as caught:
        load_weights(net, {"weight": torch.zeros(3, 3), "scale": torch.zeros(2)}, "x.safetensors")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("x.safetensors")
    assert {line.strip() for line in lines[1:]} == {
        "missing bias [2]",
        "unexpected scale [2]",
        "weight is [3, 3] in the file, [2, 3] in the model",
    }
    assert torch.equal(net.weight, before)


def test_a_missing_tensor_is_told_beside_what_it_may_be_called_in_the_file() -> None:
    net = nn.ModuleDict(
        {"norm_1": nn.LayerNorm(4), "norm_2": nn.LayerNorm(3), "out": nn.Linear(2, 2, bias=False)}
    )
    state = {key.replace("norm_", "ln_"): tensor for key, tensor in net.state_dict().items()}
    state["ln_3.weight"] = torch.zeros(4)
    state["head"] = state.pop("out.weight")
    with pytest.raises(WeightsMismatch) as caught:
        load_weights(net, state)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert lines[:5] == [
        "missing norm_1.weight [4]: the file has ln_1.weight of that shape",
        "missing norm_1.bias [4]: the file has ln_1.bias of that shape",
        "missing norm_2.weight [3]: the file has ln_2.weight of that shape",
        "missing norm_2.bias [3]: the file has ln_2.bias of that shape",
        "missing out.weight [2, 2]",
    ]
    assert lines[-1] == "unexpected head [2, 2]"
    assert len(lines) == 11


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such"):
        read_weights(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"1234567890" * 10)
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_weights(tmp_path / "b.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match="no 'config'"):
        read_weights(tmp_path / "c.safetensors")


def test_fingerprint_sees_configuration_weights_and_names() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    first = fingerprint({"a": 1}, net)
    assert len(first) == 16
    assert first == fingerprint({"a": 1}, net)
    assert first != fingerprint({"a": 2}, net)
    with torch.no_grad():
        net.bias[0] += 1
    assert first != fingerprint({"a": 1}, net)
