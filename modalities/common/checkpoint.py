"""Released checkpoints, opened safely: a state dict and its configuration, whatever the file.

    checkpoint = open_checkpoint("tokenizer_titok_l32/")          # or a .safetensors, .bin, .pt, .pth, .ckpt
    checkpoint.state      {"encoder.class_embedding": tensor, ...}
    checkpoint.config     {"model": {...}} of config.json beside it, or what the file itself says; {} if nothing

Nothing in a file is ever run. Pickles are read by torch's weights-only reader, which builds tensors and plain
containers, and here also `argparse.Namespace`, which many training programs put beside the weights (it
becomes a dictionary). Configurations in safetensors metadata are read as JSON or Python literals, never
evaluated. A file that wants more than that is refused. A config.yaml is not read: sizes follow from the shapes.
"""

from __future__ import annotations

import argparse
import ast
import json
import pickle
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
_DAMAGE = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, struct.error,
)  # fmt: skip
"""What torch's reader raises at files that are not as they should be."""
LITERAL = 1 << 20
"""Longest metadata text that is read as a configuration, in characters."""
RUNS = re.compile(r"(?i)checkpoint|ckpt|global_step|weights")
"""Folders of a run that keeps its config.json above them."""
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""Names of safetensors -> those of torch."""


class BadCheckpoint(ValueError):
    """A file that is no checkpoint, is damaged, or wants to run something; one sentence says which."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a released file holds.

    Args:
        state: tensors by their released names, in the dtype of the file.
        config: its configuration as plain data: what the file says itself, over what config.json beside it says.
        source: the file, and the key inside it that was taken.
        files: every file that was read for the tensors.
    """

    state: dict[str, Tensor]
    config: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    files: tuple[Path, ...] = ()


def open_checkpoint(path: str | Path, prefer: Sequence[str] = PREFER) -> Checkpoint:
    """Open a file or a folder of released weights.

    Args:
        path: a file, or a folder with one of the usual names (Hugging Face, DeepSpeed) or a single weight file.
        prefer: of several state dicts in one file the first of these keys is taken.

    Raises:
        FileNotFoundError: nothing there, or a folder without weights.
        BadCheckpoint: not a checkpoint, damaged, or in need of code.
    """
    file = _found(path)
    inner: dict[str, Any] = {}
    taken = ""
    files: tuple[Path, ...] = (file,)
    if file.name.endswith(".index.json"):
        state, files = _sharded(file, prefer)
    elif file.suffix == ".safetensors":
        state, inner = _safetensors(file)
    else:
        state, inner, taken = _pickled(file, prefer)
    state = _unwrapped(state, file)
    if not state:
        raise BadCheckpoint(f"{file} holds no tensors: it is no checkpoint of a model")
    if taken == "module" and all(tensor.numel() == 0 for tensor in state.values()):
        raise BadCheckpoint(
            f"{file} has only empty tensors, as ZeRO 3 leaves them: merge the ranks' files with the zero_to_fp32.py "
            "that DeepSpeed put beside them"
        )
    source = f"{file.name} [{taken}]" if taken else file.name
    return Checkpoint(state, {**_config(file), **inner}, source, files)


def shapes(path: str | Path, prefer: Sequence[str] = PREFER) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of every tensor by its name in the file; of safetensors without reading the tensors.

    Raises:
        FileNotFoundError, BadCheckpoint: as `open_checkpoint`.
    """
    file = _found(path)
    if file.name.endswith(".index.json"):
        parts = _parts(file, _index(file))
    else:
        parts = [file]
    if any(part.suffix != ".safetensors" for part in parts):
        state = open_checkpoint(file, prefer).state
        return {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in state.items()}
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for part in parts:
        with _opened(part) as opened:
            for name in opened.keys():  # noqa: SIM118
                piece = opened.get_slice(name)
                dtype = piece.get_dtype()
                found[name] = (tuple(piece.get_shape()), DTYPES.get(dtype, dtype))
    return found


# -------------------------------------------------------------------- where the weights are


def _found(path: str | Path) -> Path:
    """The file that a path means, if there is one and it is more than a stand-in."""
    path = Path(path)
    file = _file(path) if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such weight file")
    _refuse_pointers(file)
    return file


def _file(folder: Path) -> Path:
    """The weight file of a folder."""
    others = sorted(file.name for file in folder.glob("mp_rank_*_model_states.pt"))
    if len(others) > 1:
        raise BadCheckpoint(
            f"{folder} holds a model cut into {len(others)} parts ({others[0]}, …): merge them where it was trained"
        )
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(file for suffix in SUFFIXES for file in folder.glob(f"*{suffix}"))
    if len(found) == 1:
        return found[0]
    if any(file.name.startswith("zero_pp_rank_") for file in found):
        raise BadCheckpoint(
            f"{folder} holds only the ranks' shares of ZeRO 3: merge them with the zero_to_fp32.py that DeepSpeed "
            "put beside them"
        )
    latest = folder / "latest"
    if latest.is_file():  # a DeepSpeed folder names its newest checkpoint
        name = Path(latest.read_text(encoding="utf-8", errors="replace")[:255].strip()).name
        if name not in ("", "..") and (folder / name).is_dir():
            return _file(folder / name)
    what = ", ".join(file.name for file in found[:8]) or "none"
    raise FileNotFoundError(f"{folder}: need one weight file, found {what}: give the path of the file itself")


def _config(file: Path) -> dict[str, Any]:
    """config.json beside the file, or above a folder of checkpoints (DetailFlow); {} if there is none."""
    folders = [file.parent]
    if RUNS.search(file.parent.absolute().name):
        folders.append(file.parent.absolute().parent)
    for folder in folders:
        path = folder / "config.json"
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise BadCheckpoint(f"{path} is no JSON ({_short(error)}): mend or move it") from error
            return found if isinstance(found, dict) else {}
    return {}


def _refuse_pointers(file: Path) -> None:
    """Small text files that stand in for weights that were never downloaded."""
    with file.open("rb") as opened:
        head = opened.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise BadCheckpoint(
            f"{file} is a Git LFS pointer, not the weights: run `git lfs pull` where it came from"
        )
    text = head.lstrip().lower()  # a safetensors file may begin with "<", too: its first bytes are a number
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        raise BadCheckpoint(f"{file} is a web page, not weights: the download went wrong, fetch it again")


# -------------------------------------------------------------------- formats


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A safetensors file, open."""
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except SafetensorError as error:
        raise BadCheckpoint(f"{file} is not a whole safetensors file ({error}): copy it again") from error


def _safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with _opened(file) as opened:
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata() or {}
    return state, {key: literal(text) for key, text in metadata.items()}


def _index(file: Path) -> dict[str, str]:
    """Which shard every tensor is in."""
    try:
        where = json.loads(file.read_text(encoding="utf-8"))["weight_map"]
        return {str(name): str(part) for name, part in where.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadCheckpoint(f"{file} is no index of shards ({error!r}): copy it again") from error


def _parts(index: Path, where: Mapping[str, str]) -> list[Path]:
    """The shards of an index, never outside its folder."""
    parts = [index.parent / Path(name).name for name in sorted(set(where.values()))]
    for part in parts:
        if not part.is_file():
            raise FileNotFoundError(f"{part}: the index names this shard, but it is not there")
        _refuse_pointers(part)
    return parts


def _sharded(index: Path, prefer: Sequence[str]) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    where = _index(index)
    parts = _parts(index, where)
    state: dict[str, Tensor] = {}
    for part in parts:
        state.update(_safetensors(part)[0] if part.suffix == ".safetensors" else _pickled(part, prefer)[0])
    missing = sorted(set(where) - set(state))
    if missing:
        raise BadCheckpoint(
            f"{index}: the shards lack {len(missing)} tensors, first {missing[0]!r}: copy them again"
        )
    return {name: state[name] for name in where}, tuple(parts)


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
            f"{file} asks for {wanted.group(1)}, which could run code, so it is not opened, nor does "
            "tools/convert_weights.py open it: save its state dict alone (torch.save(model.state_dict(), …)) in a place "
            "where you trust it"
        ) from error
    except _DAMAGE as error:
        if "TorchScript" in str(error):
            raise BadCheckpoint(
                f"{file} is a TorchScript program, not weights: save its state dict"
            ) from error
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


def _unwrapped(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Names without what compilers, FSDP, checkpointing and data parallelism put in."""
    odd = next((key for key in state if not isinstance(key, str)), None)
    if odd is not None:
        raise BadCheckpoint(
            f"{file} names a tensor {odd!r}, which is no text: it is no state dict of a model"
        )
    plain = {key: WRAPPERS.sub("", key) for key in state}
    while plain and all(name.startswith("module.") for name in plain.values()):
        plain = {key: name.removeprefix("module.") for key, name in plain.items()}
    seen: dict[str, str] = {}
    for key, name in plain.items():
        if name in seen:
            raise BadCheckpoint(f"{file} holds {name!r} twice, as {seen[name]!r} and as {key!r}: remove one")
        seen[name] = key
    return {name: state[key] for key, name in plain.items()}


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
