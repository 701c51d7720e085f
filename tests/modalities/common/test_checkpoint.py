"""Released files of every kind open, and none runs anything."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modalities.common.checkpoint import BadCheckpoint, literal, open_checkpoint, shapes

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}


def same(state: dict[str, torch.Tensor]) -> bool:
    return state.keys() == STATE.keys() and all(
        state[k].equal(t) and state[k].dtype == t.dtype for k, t in STATE.items()
    )


def test_safetensors_with_the_configuration_of_its_metadata_or_of_the_folder(tmp_path: Path):
    file = tmp_path / "x" / "model.safetensors"
    file.parent.mkdir()
    save_file(STATE, file, metadata={"model": "{'depth': 12, 'sizes': [1, None]}", "note": "import os"})
    found = open_checkpoint(file)
    assert same(found.state)
    assert found.config == {"model": {"depth": 12, "sizes": [1, None]}, "note": "import os"}
    (file.parent / "config.json").write_text(json.dumps({"model": {"depth": 3}}))
    assert open_checkpoint(file.parent).config == {"model": {"depth": 3}}
    assert shapes(file.parent)["a.weight"] == ((2, 3), "F32")


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt"])
def test_a_plain_state_dict(tmp_path: Path, suffix: str):
    file = tmp_path / f"titok{suffix}"
    torch.save(STATE, file)
    assert same(open_checkpoint(file).state)
    assert shapes(file)["b"] == ((2,), "bfloat16")


def test_old_torch_files_open(tmp_path: Path):
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(open_checkpoint(tmp_path / "old.pth").state)


def test_a_training_file_gives_the_averaged_weights_and_its_arguments(tmp_path: Path):
    other = {key: tensor + 1 for key, tensor in STATE.items()}
    args = argparse.Namespace(vq_model="VQ_SS256", sizes=(1, 2), inner=argparse.Namespace(x=1))
    torch.save(
        {"model": other, "ema": STATE, "optimizer": {"state": {}}, "steps": 3, "args": args},
        tmp_path / "vq.pt",
    )
    found = open_checkpoint(tmp_path / "vq.pt")
    assert same(found.state)
    assert found.config == {"vq_model": "VQ_SS256", "sizes": [1, 2], "inner": {"x": 1}}
    assert found.source == "vq.pt [ema]"
    assert open_checkpoint(tmp_path / "vq.pt", prefer=("model",)).state["b"].tolist() == [2, 2]


def test_a_deepspeed_folder_and_wrapped_names(tmp_path: Path):
    wrapped = {
        f"module._orig_mod.{key.replace('a.', 'a._checkpoint_wrapped_module.')}": t
        for key, t in STATE.items()
    }
    (tmp_path / "global_step5").mkdir()
    torch.save(
        {"module": wrapped, "ds_version": "0.1"}, tmp_path / "global_step5" / "mp_rank_00_model_states.pt"
    )
    (tmp_path / "latest").write_text("global_step5")
    assert same(open_checkpoint(tmp_path).state)


def test_shards(tmp_path: Path):
    save_file({"a.weight": STATE["a.weight"]}, tmp_path / "one.safetensors")
    save_file({"b": STATE["b"]}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a.weight": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same(open_checkpoint(tmp_path).state)
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="two.safetensors: the index names this shard"):
        open_checkpoint(tmp_path)


class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": STATE, "args": Runs()}, "evil.pt")
    with pytest.raises(BadCheckpoint, match=r"asks for (posix|nt)\.system, which could run code"):
        open_checkpoint("evil.pt")
    assert not Path("ran").exists()
    torch.save(nn.Linear(2, 2), "whole.pt")
    with pytest.raises(BadCheckpoint, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        open_checkpoint("whole.pt")


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
def test_damaged_files(tmp_path: Path, name: str):
    file = tmp_path / name
    (save_file if name.endswith("s") else torch.save)(STATE, file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(BadCheckpoint, match="copy it again"):
        open_checkpoint(file)
    file.write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="copy it again"):
        open_checkpoint(file)


def test_what_is_no_checkpoint(tmp_path: Path):
    (tmp_path / "lfs.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    )
    with pytest.raises(BadCheckpoint, match="Git LFS pointer"):
        open_checkpoint(tmp_path / "lfs.safetensors")
    (tmp_path / "page.pt").write_text("\n<!DOCTYPE html><html>")
    with pytest.raises(BadCheckpoint, match="web page"):
        open_checkpoint(tmp_path / "page.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(BadCheckpoint, match="holds a list"):
        open_checkpoint(tmp_path / "list.pt")
    torch.save({"step": 3}, tmp_path / "step.pt")
    with pytest.raises(BadCheckpoint, match="no state dict under"):
        open_checkpoint(tmp_path / "step.pt")
    with pytest.raises(FileNotFoundError, match="need one weight file, found lfs"):
        open_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such weight file"):
        open_checkpoint(tmp_path / "absent.pt")


def test_metadata_is_read_and_never_run():
    assert literal("__import__('os').system('touch ran')") == "__import__('os').system('touch ran')"
    assert literal("[" * 5000) == "[" * 5000
    assert literal('{"a": 1}') == {"a": 1}
