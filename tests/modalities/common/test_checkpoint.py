"""Released files of every kind open, and none runs anything."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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
    (file.parent / "config.json").write_text(json.dumps({"model": {"depth": 3}, "size": 256}))
    found = open_checkpoint(file.parent)
    assert found.config == {"model": {"depth": 12, "sizes": [1, None]}, "note": "import os", "size": 256}
    assert found.files == (file,)
    (file.parent / "config.json").write_text("[" * 9000)
    with pytest.raises(BadCheckpoint, match="config.json is no JSON"):
        open_checkpoint(file)


def test_a_configuration_above_is_only_read_for_folders_of_checkpoints(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"size": 256}))
    for name, config in (("checkpoints", {"size": 256}), ("other", {})):
        (tmp_path / name).mkdir()
        torch.save(STATE, tmp_path / name / "x.pt")
        assert open_checkpoint(tmp_path / name / "x.pt").config == config


def test_shapes_are_told_without_reading_the_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = {"a.weight": ((2, 3), "float32"), "b": ((2,), "bfloat16")}
    torch.save({"ema": STATE}, tmp_path / "x.pt")
    assert shapes(tmp_path / "x.pt") == wanted
    (tmp_path / "x.pt").unlink()
    save_file({"a.weight": STATE["a.weight"]}, tmp_path / "one.safetensors")
    save_file({"b": STATE["b"]}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a.weight": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    def never(*_: object) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr("modalities.common.checkpoint._safetensors", never)
    assert shapes(tmp_path) == wanted
    assert shapes(tmp_path / "two.safetensors") == {"b": ((2,), "bfloat16")}


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
    found = open_checkpoint(tmp_path)
    assert same(found.state)
    assert found.source == "mp_rank_00_model_states.pt [module]"


def test_what_deepspeed_cut_in_pieces_is_refused(tmp_path: Path):
    file = tmp_path / "mp_rank_00_model_states.pt"
    torch.save({"module": {key: t[:0] for key, t in STATE.items()}}, file)
    with pytest.raises(BadCheckpoint, match="only empty tensors, as ZeRO 3 leaves them"):
        open_checkpoint(tmp_path)
    torch.save({"module": STATE}, tmp_path / "mp_rank_01_model_states.pt")
    with pytest.raises(BadCheckpoint, match="cut into 2 parts"):
        open_checkpoint(tmp_path)
    zero = tmp_path / "zero"
    zero.mkdir()
    for rank in (0, 1):
        torch.save({"module": STATE}, zero / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
    with pytest.raises(BadCheckpoint, match="zero_to_fp32.py"):
        open_checkpoint(zero)
    loop = tmp_path / "loop"
    loop.mkdir()
    (loop / "latest").write_text("..")
    with pytest.raises(FileNotFoundError, match="found none"):
        open_checkpoint(loop)


def test_names_that_meet_when_wrappers_go_are_refused(tmp_path: Path):
    torch.save({"a": torch.ones(1), "_orig_mod.a": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint, match=r"holds 'a' twice, as 'a' and as '_orig_mod.a'"):
        open_checkpoint(tmp_path / "x.pt")
    torch.save(
        {"module.module.a": torch.ones(1), "module._fsdp_wrapped_module.module.b": torch.ones(1)},
        tmp_path / "x.pt",
    )
    assert list(open_checkpoint(tmp_path / "x.pt").state) == ["a", "b"]
    torch.save({"state_dict": {0: torch.ones(1)}}, tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint, match="names a tensor 0, which is no text"):
        open_checkpoint(tmp_path / "x.pt")


def test_shards(tmp_path: Path):
    save_file({"a.weight": STATE["a.weight"]}, tmp_path / "one.safetensors")
    save_file({"b": STATE["b"]}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a.weight": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    found = open_checkpoint(tmp_path)
    assert same(found.state)
    assert [file.name for file in found.files] == ["one.safetensors", "two.safetensors"]
    save_file({"c": STATE["b"]}, tmp_path / "two.safetensors")
    with pytest.raises(BadCheckpoint, match="the shards lack 1 tensors, first 'b'"):
        open_checkpoint(tmp_path)
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="two.safetensors: the index names this shard"):
        open_checkpoint(tmp_path)
    for bad in ("[]", '{"weight_map": [1]}', "{"):
        (tmp_path / "model.safetensors.index.json").write_text(bad)
        with pytest.raises(BadCheckpoint, match="no index of shards"):
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


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["x.pt", "old.pth", "x.safetensors"]))
def test_no_damage_escapes_as_another_error(tmp_path_factory: pytest.TempPathFactory, seed: int, name: str):
    file = tmp_path_factory.getbasetemp() / name
    file.unlink(missing_ok=True)
    if name == "x.safetensors":
        save_file(STATE, file, metadata={"config": "{'a': 1}"})
    else:
        torch.save({"model": STATE}, file, _use_new_zipfile_serialization=name == "x.pt")
    random = np.random.default_rng(seed)
    data = bytearray(file.read_bytes())
    for _ in range(random.integers(1, 4)):
        data[random.integers(len(data))] = random.integers(256)
    file.unlink()  # an earlier file may be mapped into memory
    file.write_bytes(data)
    words = ""
    try:
        open_checkpoint(file)
    except BadCheckpoint as error:  # any other error fails this test
        words = str(error)
    assert "\n" not in words


def test_what_is_no_checkpoint(tmp_path: Path):
    (tmp_path / "lfs.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    )
    with pytest.raises(BadCheckpoint, match="Git LFS pointer"):
        open_checkpoint(tmp_path / "lfs.safetensors")
    (tmp_path / "page.pt").write_text("\n<!DOCTYPE html><html>")
    with pytest.raises(BadCheckpoint, match="web page"):
        open_checkpoint(tmp_path / "page.pt")
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "jit.pt"))
    with pytest.raises(BadCheckpoint, match="TorchScript program"):
        open_checkpoint(tmp_path / "jit.pt")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(BadCheckpoint, match="holds no tensors"):
        open_checkpoint(tmp_path / "empty.safetensors")
    (tmp_path / "empty.safetensors").unlink()
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(BadCheckpoint, match="holds a list"):
        open_checkpoint(tmp_path / "list.pt")
    torch.save({"step": 3}, tmp_path / "step.pt")
    with pytest.raises(BadCheckpoint, match="no state dict under"):
        open_checkpoint(tmp_path / "step.pt")
    with pytest.raises(FileNotFoundError, match="need one weight file, found jit.pt, lfs"):
        open_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such weight file"):
        open_checkpoint(tmp_path / "absent.pt")


def test_a_file_may_begin_with_the_sign_of_a_web_page(tmp_path: Path):
    """Safetensors begin with the header's length: 0x3c20 bytes are written " <"."""
    for size in range(15_300, 15_420):
        save_file(STATE, tmp_path / "x.safetensors", metadata={"note": "x" * (size - 150)})
        if (tmp_path / "x.safetensors").read_bytes()[:2] == b" <":
            break
    else:
        pytest.fail("no file of that length was made")
    assert same(open_checkpoint(tmp_path / "x.safetensors").state)


def test_metadata_is_read_and_never_run():
    assert literal("__import__('os').system('touch ran')") == "__import__('os').system('touch ran')"
    assert literal("[" * 5000) == "[" * 5000
    assert literal("[1]" + " " * (1 << 20)) == "[1]" + " " * (1 << 20)  # too long to be a configuration
    assert literal('{"a": 1}') == {"a": 1}
