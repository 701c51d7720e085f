"""Released files become files of this project, whole or not at all."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file
from torch import nn

from modalities.common.checkpoint import BadCheckpoint, Checkpoint
from modalities.common.keys import Drop, Fuse, KeyMap, Rename, Squeeze
from modalities.common.weights import WeightsMismatch, load_weights, read_weights
from unitok import registry
from unitok.registry import UnknownModality

TOOL = Path(__file__).parents[2] / "tools" / "convert_weights.py"


class ToyConfig(BaseModel):
    width: int
    scale: float = 1.0


class ToyNet(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, 2)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))


KEYS = KeyMap(
    Drop(r"^loss\."),
    Fuse(r"{}_proj", ("q", "k", "v"), "qkv"),
    Squeeze(r"^conv_out\.weight$"),
    Rename(r"^conv_out\.", "out."),
)


class Toy:
    Config, Net = ToyConfig, ToyNet

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[ToyConfig, dict[str, torch.Tensor]]:
        width = checkpoint.state["q_proj.weight"].shape[0]
        return ToyConfig(width=width, scale=checkpoint.config.get("scale", 1.0)), KEYS.ours(checkpoint.state)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("convert_weights", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["convert_weights"] = module  # where its dataclass looks for its names
    spec.loader.exec_module(module)
    yield module
    del sys.modules["convert_weights"]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    known = registry._registry
    known.names()
    monkeypatch.setitem(known._targets, "image.toy", Toy)
    return "image.toy"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "q_proj.weight": torch.randn(4, 4),
        "k_proj.weight": torch.randn(4, 4).bfloat16().float(),
        "v_proj.weight": torch.randn(4, 4),
        "conv_out.weight": torch.randn(2, 4, 1, 1),
        "conv_out.bias": torch.randn(2),
        "seen": torch.tensor(7),
        "loss.weight": torch.randn(3),
        "loss.bias": torch.randn(()),
    }


@pytest.fixture
def file(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "released" / "vq.pt"
    path.parent.mkdir()
    torch.save({"model": state, "optimizer": {}, "args": argparse.Namespace(scale=0.5)}, path)
    return path


@pytest.mark.parametrize("half", [False, True])
def test_a_released_file_becomes_ours(tool, toy, state, file, tmp_path, capsys, half: bool):
    out = tmp_path / "ours.safetensors"
    tool.main(["--tokenizer", toy, str(file.parent), str(out), *["--half"] * half])
    config, ours = read_weights(out)
    assert config == {"width": 4, "scale": 0.5}
    load_weights(ToyNet(ToyConfig(**config)), ours)
    qkv = torch.cat([state[f"{name}_proj.weight"] for name in "qkv"])
    assert torch.equal(ours["qkv.weight"], qkv.half().float() if half else qkv)
    assert int(ours["seen"]) == 7
    made = json.loads(out.with_suffix(".json").read_text())["made"]
    assert made == {
        "converted": "vq.pt [model]",
        "sha256": {"vq.pt": hashlib.sha256(file.read_bytes()).hexdigest()},
        "tokenizer": toy,
        "left out": ["loss.weight", "loss.bias"],
        "floats": "fp16" if half else "fp32",
    }
    said = capsys.readouterr().out
    assert (
        "fits image.toy: 4 tensors, 59 numbers; 2 of its 8 tensors are left out: loss.weight, loss.bias"
        in said
    )
    assert f"wrote {out}" in said


def test_a_dry_run_writes_nothing_and_lists_what_does_not_fit(tool, toy, state, file, tmp_path, capsys):
    tool.main(["--tokenizer", toy, "--dry-run", str(file)])
    assert "fits image.toy" in capsys.readouterr().out
    bad = tmp_path / "bad.safetensors"
    state["outer.bias"] = state.pop("conv_out.bias")
    save_file(state, bad)
    with pytest.raises(WeightsMismatch, match="see the differences above"):
        tool.main(["--tokenizer", toy, "--dry-run", str(bad)])
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == [
        "missing out.bias [2]: the file has outer.bias of that shape",
        "unexpected outer.bias [2]",
    ]
    save_file({"x": torch.ones(1)}, bad)
    with pytest.raises(WeightsMismatch, match="no tensor 'q_proj.weight': it is a file of another tokenizer"):
        tool.main(["--tokenizer", toy, str(bad), str(tmp_path / "ours.safetensors")])
    assert {path.name for path in tmp_path.iterdir()} == {"released", "bad.safetensors"}


def test_listing_says_what_a_file_holds(tool, state, tmp_path, capsys):
    save_file(state, tmp_path / "x.safetensors")
    tool.main(["--list", str(tmp_path / "x.safetensors")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "8 tensors, 63 numbers"
    assert "conv_out.weight  [2, 4, 1, 1]         float32" in lines


def test_numbers_too_large_for_half_are_refused(tool, toy, state, tmp_path):
    state["q_proj.weight"][0, 0] = 1e5
    save_file(state, tmp_path / "x.safetensors")
    out = tmp_path / "ours.safetensors"
    with pytest.raises(ValueError, match=r"qkv.weight holds numbers over 65504"):
        tool.main(["--tokenizer", toy, str(tmp_path / "x.safetensors"), str(out), "--half"])
    assert not out.exists()
    tool.main(["--tokenizer", toy, str(tmp_path / "x.safetensors"), str(out)])
    assert out.exists()


def test_mistakes_on_the_command_line(tool, toy, file, tmp_path):
    out = tmp_path / "ours.safetensors"
    with pytest.raises(ValueError, match="name the tokenizer"):
        tool.main([str(file), str(out)])
    with pytest.raises(UnknownModality, match="did you mean"):
        tool.main(["--tokenizer", "image.toi", str(file), str(out)])
    with pytest.raises(ValueError, match="text.bytes has no released weights"):
        tool.main(["--tokenizer", "text.bytes", str(file), str(out)])
    with pytest.raises(ValueError, match="name the file to write"):
        tool.main(["--tokenizer", toy, str(file)])
    with pytest.raises(ValueError, match="is no .safetensors"):
        tool.main(["--tokenizer", toy, str(file), "ours.pt"])
    with pytest.raises(FileNotFoundError, match="no such weight file"):
        tool.main(["--tokenizer", toy, str(tmp_path / "absent.pt"), str(out)])
    torch.save({"model": nn.Linear(1, 1)}, tmp_path / "whole.pt")
    with pytest.raises(BadCheckpoint, match="nor does tools/convert_weights.py open it"):
        tool.main(["--tokenizer", toy, str(tmp_path / "whole.pt"), str(out)])
    tool.main(["--tokenizer", toy, str(file), str(out)])
    with pytest.raises(ValueError, match="give --force"):
        tool.main(["--tokenizer", toy, str(file), str(out)])
    tool.main(["--tokenizer", toy, str(file), str(out), "--force"])
    with pytest.raises(ValueError, match="format already"):
        tool.main(["--tokenizer", toy, "--dry-run", str(out)])
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(out.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cut") as damaged:
        tool.main(["--tokenizer", toy, "--dry-run", str(cut)])
    assert "already" not in str(damaged.value)
    with pytest.raises(ValueError, match="exists: choose another name$"):
        tool.main(["--tokenizer", toy, str(out), str(out), "--force"])


def test_the_command_ends_with_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOOL), "--tokenizer", "image.titok", str(tmp_path), "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == f"error: {tmp_path}: need one weight file, found none: give the path of the file itself\n"
    )


@pytest.mark.slow
def test_a_converted_titok_gives_the_codes_of_the_released_file(tool, tmp_path):
    from released import filled, listing

    import unitok

    save_file(filled(listing("titok_s128")), tmp_path / "model.safetensors")
    out = tmp_path / "ours.safetensors"
    tool.main(["--tokenizer", "image.titok", str(tmp_path / "model.safetensors"), str(out)])
    torch.manual_seed(0)
    picture = torch.rand(3, 256, 256)
    one, two = (
        unitok.create("image.titok", weights=weights) for weights in (tmp_path / "model.safetensors", out)
    )
    assert one.spec.fingerprint == two.spec.fingerprint
    assert torch.equal(one.encode([picture])[0].ids, two.encode([picture])[0].ids)
