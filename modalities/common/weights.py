"""Weight files: safetensors with the model's configuration in the metadata and a readable JSON beside.

`model.safetensors` holds the tensors and, under the metadata key "config", what builds the model that
takes them; `model.json` repeats the configuration with how the weights were made (command, data, figures).
Nothing is unpickled. A file that does not fit a model is refused with the list of differences.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

SHOWN = 20
"""Differences that a message lists."""


class WeightsMismatch(ValueError):
    """Weights of another model: the message lists missing, unexpected and wrongly shaped tensors."""


def save_weights(
    path: str | Path,
    module: nn.Module,
    config: Mapping[str, Any],
    made: Mapping[str, Any] | None = None,
    *,
    half: bool = True,
) -> None:
    """Write `module` to `path` (.safetensors) and its description to the .json beside it.

    Args:
        config: JSON-able, enough to build the module again.
        made: JSON-able, how the weights came to be: command, data, figures.
        half: store floats as fp16.
    """
    path = Path(path)
    tensors = {}
    for name, tensor in module.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        tensors[name] = tensor.half() if half and tensor.is_floating_point() else tensor.clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(
        path.name + ".part"
    )  # renamed at the end: a broken write leaves the old file whole
    save_file(tensors, aside, metadata={"config": _canonical(config)})
    aside.chmod(0o644)  # safetensors makes files that only their owner reads
    aside.replace(path)
    text = json.dumps({"config": config, "made": made or {}}, indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round all floats of a module to what fp16 holds, as `save_weights` will."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())


def read_weights(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a weight file, floats as fp32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a safetensors file, or one without a configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): make or copy it again"
        ) from error
    if "config" not in metadata:
        raise ValueError(f"{path} carries no 'config' in its metadata, so the model that it fits is unknown")
    return json.loads(metadata["config"]), {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }


def is_ours(path: str | Path) -> bool:
    """Whether a file says in its metadata what it fits, as `save_weights` writes it."""
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return "config" in (file.metadata() or {})
    except SafetensorError:
        return True  # whoever reads it will say what is wrong


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: str = "these weights") -> None:
    """Load `state` into `module`, all of it or nothing.

    Raises:
        WeightsMismatch: lists the differences; a missing tensor with the likeliest of the file, if one is alike.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    alike = _alike(missing[:SHOWN], unexpected, {**state, **own})
    lines = [f"missing {name} {list(own[name].shape)}{alike.get(name, '')}" for name in missing]
    lines += [f"unexpected {name} {list(state[name].shape)}" for name in unexpected]
    lines += [
        f"{name} is {list(state[name].shape)} in the file, {list(own[name].shape)} in the model"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    if lines:
        more = f"\n  and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise WeightsMismatch(f"{source} fit another model:\n  " + "\n  ".join(lines[:SHOWN]) + more)
    module.load_state_dict(dict(state))


def _alike(missing: list[str], unexpected: list[str], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """For missing names, in words, what of the file has the same shape and nearly the name."""
    found = {}
    left = list(unexpected)
    for name in missing:
        same = [other for other in left if tensors[other].shape == tensors[name].shape]
        near = difflib.get_close_matches(name, same, n=1)
        if near:
            left.remove(near[0])
            found[name] = f": the file has {near[0]} of that shape"
    return found


def fingerprint(config: Mapping[str, Any], module: nn.Module) -> str:
    """Hash of a configuration and a module's tensors (floats as fp32): 16 hexadecimal digits."""
    digest = hashlib.sha256(_canonical(config).encode())
    for name, tensor in sorted(module.state_dict().items()):
        tensor = tensor.detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name}{list(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _canonical(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
