"""Released checkpoints, opened safely: a state dict and its configuration, whatever the file.

    checkpoint = open_checkpoint("tokenizer_titok_l32/")          # or a .safetensors, .bin, .pt, .pth, .ckpt
    checkpoint.state      {"encoder.class_embedding": tensor, ...}
    checkpoint.config     {"model": {...}} of config.json beside it, or what the file itself says; {} if nothing

Nothing in a file is ever run. Pickles are read by torch's weights-only reader, which builds tensors and plain
containers, and here also `argparse.Namespace`, which many training programs put beside the weights (it
becomes a dictionary). Configurations in safetensors metadata are read as JSON or Python literals, never
evaluated. A file that wants more than that is refused.
"""

from __future__ import annotations

import argparse
import ast
import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

PREFER = ("ema", "model", "module", "state_dict", "model_ema", "params")
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
NAMES = (
    "model.safetensors.index.json", "model.safetensors", "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin.index.json", "pytorch_model.bin", "mp_rank_00_model_states.pt",
)  # fmt: skip
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
LITERAL = 1 << 20
"""Longest metadata text that is read as a configuration, in characters."""


class BadCheckpoint(ValueError):
    """A file that is no checkpoint, is damaged, or wants to run something; one sentence says which."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a released file holds.

    Args:
        state: tensors by their released names, in the dtype of the file.
        config: its configuration as plain data.
        source: the file, and the key inside it that was taken.
    """

    state: dict[str, Tensor]
    config: dict[str, Any] = field(default_factory=dict)
    source: str = ""


def open_checkpoint(path: str | Path, prefer: Sequence[str] = PREFER) -> Checkpoint:
    """Open a file or a folder of released weights.

    Args:
        path: a file, or a folder with one of the usual names (Hugging Face, DeepSpeed) or a single weight file.
        prefer: of several state dicts in one file the first of these keys is taken.

    Raises:
        FileNotFoundError: nothing there, or a folder without weights.
        BadCheckpoint: not a checkpoint, damaged, or in need of code.
    """
    path = Path(path)
    file = _file(path) if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such weight file")
    _refuse_pointers(file)
    inner: dict[str, Any] = {}
    if file.name.endswith(".index.json"):
        state, taken = _sharded(file, prefer), ""
    elif file.suffix == ".safetensors":
        state, inner = _safetensors(file)
        taken = ""
    else:
        state, inner, taken = _pickled(file, prefer)
    state = _unwrapped(state)
    if not state:
        raise BadCheckpoint(f"{file} holds no tensors: it is no checkpoint of a model")
    source = f"{file.name} [{taken}]" if taken else file.name
    return Checkpoint(state, _config(file) or inner, source)


def shapes(path: str | Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of every tensor, by name; of safetensors without reading the tensors."""
    path = Path(path)
    file = _file(path) if path.is_dir() else path
    if file.suffix != ".safetensors":
        found = open_checkpoint(path).state
        return {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in found.items()}
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such weight file")
    _refuse_pointers(file)
    try:
        with safe_open(file, framework="pt") as opened:
            pieces = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {name: (tuple(p.get_shape()), p.get_dtype()) for name, p in pieces.items()}
    except SafetensorError as error:
        raise BadCheckpoint(f"{file} is not a whole safetensors file ({error}): copy it again") from error


# -------------------------------------------------------------------- where the weights are


def _file(folder: Path) -> Path:
    """The weight file of a folder."""
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(file for suffix in SUFFIXES for file in folder.glob(f"*{suffix}"))
    if len(found) == 1:
        return found[0]
    if (folder / "latest").is_file():  # a DeepSpeed folder names its newest checkpoint
        return _file(folder / (folder / "latest").read_text(encoding="utf-8").strip())
    what = ", ".join(file.name for file in found) or "none"
    raise FileNotFoundError(f"{folder}: need one weight file, found {what}: give the path of the file itself")


def _config(file: Path) -> dict[str, Any]:
    """config.json beside the file or one folder above, as DetailFlow keeps it; {} if there is none."""
    for folder in (file.parent, file.parent.parent):
        if (folder / "config.json").is_file():
            try:
                found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            except ValueError as error:
                raise BadCheckpoint(
                    f"{folder / 'config.json'} is no JSON ({error}): mend or move it"
                ) from error
            return found if isinstance(found, dict) else {}
    return {}


def _refuse_pointers(file: Path) -> None:
    """Small text files that stand in for weights that were never downloaded."""
    with file.open("rb") as opened:
        head = opened.read(64).lstrip()
    if head.startswith(b"version https://git-lfs"):
        raise BadCheckpoint(
            f"{file} is a Git LFS pointer, not the weights: run `git lfs pull` where it came from"
        )
    if head[:1] == b"<":
        raise BadCheckpoint(f"{file} is a web page, not weights: the download went wrong, fetch it again")


# -------------------------------------------------------------------- formats


def _safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(file, framework="pt") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata() or {}
    except SafetensorError as error:
        raise BadCheckpoint(f"{file} is not a whole safetensors file ({error}): copy it again") from error
    return state, {key: literal(text) for key, text in metadata.items()}


def _sharded(index: Path, prefer: Sequence[str]) -> dict[str, Tensor]:
    try:
        where = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{index} is no index of shards ({error!r}): copy it again") from error
    state: dict[str, Tensor] = {}
    for name in sorted(set(where.values())):
        part = index.parent / Path(name).name  # never outside the folder
        if not part.is_file():
            raise FileNotFoundError(f"{part}: the index names this shard, but it is not there")
        state.update(_safetensors(part)[0] if part.suffix == ".safetensors" else _pickled(part, prefer)[0])
    missing = sorted(set(where) - set(state))
    if missing:
        raise BadCheckpoint(
            f"{index}: the shards lack {len(missing)} tensors, first {missing[0]!r}: copy them again"
        )
    return {name: state[name] for name in where}


def _pickled(file: Path, prefer: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            try:
                found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:  # files of before 2020 cannot be mapped into memory
                found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            raise BadCheckpoint(f"{file} is damaged or no torch file: copy it again") from error
        raise BadCheckpoint(
            f"{file} asks for {wanted.group(1)}, which could run code, so it is not opened: save its state dict "
            "alone (torch.save(model.state_dict(), …)) in a place where you trust it"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise BadCheckpoint(f"{file} is damaged or no torch file ({_short(error)}): copy it again") from error
    return _chosen(file, found, prefer)


def _chosen(file: Path, found: Any, prefer: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """The state dict inside what a pickle held, the configuration beside it, and the key it stood under."""
    if not isinstance(found, Mapping):
        raise BadCheckpoint(
            f"{file} holds a {type(found).__name__}, not a state dict: save the state dict alone"
        )
    config: Any = next(
        (_plain(found[key]) for key in ("args", "config", "hyper_parameters") if key in found), {}
    )
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    if tensors and len(tensors) == len(found):
        return tensors, {}, ""
    for key in prefer:
        value = found.get(key)
        if isinstance(value, Mapping) and any(isinstance(each, Tensor) for each in value.values()):
            state = {name: each for name, each in value.items() if isinstance(each, Tensor)}
            return state, config if isinstance(config, dict) else {}, key
    keys = ", ".join(map(str, list(found)[:8]))
    raise BadCheckpoint(f"{file} has no state dict under {', '.join(prefer)}: it has {keys}")


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what compilers, FSDP, checkpointing and data parallelism put in."""
    plain = {WRAPPERS.sub("", key): tensor for key, tensor in state.items()}
    if plain and all(key.startswith("module.") for key in plain):
        plain = {key.removeprefix("module."): tensor for key, tensor in plain.items()}
    return plain


def _plain(value: Any) -> Any:
    """Namespaces as dictionaries, throughout."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def literal(text: str) -> Any:
    """A metadata text as plain data: JSON, or a Python literal, or else the text itself."""
    if len(text) <= LITERAL:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
    return text


def _short(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:120]
