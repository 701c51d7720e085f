"""Generators of image codes beside the shared language model: masked, autoregressive, binary.

Each is a module with `loss(codes, classes)`, `sample(classes, …) -> codes` and, for released files,
`released(checkpoint)`; `open_generator` opens any of them. They work on the codes of any one-dimensional
tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from ...common.checkpoint import open_checkpoint
from ...common.weights import WeightsMismatch, load_weights, read_weights

KINDS = {
    "maskgit": ("maskgit", "MaskGIT", "MaskGITConfig"),
    "rar": ("rar", "RAR", "RARConfig"),
    "gpt": ("gpt", "GPT", "GPTConfig"),
    "groups": ("groups", "Groups", "GroupsConfig"),
    "bits_ar": ("bits_ar", "BitsAR", "BitsARConfig"),
    "bits_diffusion": ("bits_diffusion", "BitsDiffusion", "BitsDiffusionConfig"),
}
"""Name -> module, class and configuration; imported when asked for."""


def generator_class(kind: str) -> tuple[type[nn.Module], type[Any]]:
    """The class of a generator and that of its configuration.

    Raises:
        ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no generator is called {kind!r}: there are {', '.join(KINDS)}")
    module, name, config = KINDS[kind]
    found = import_module(f".{module}", __name__)
    return getattr(found, name), getattr(found, config)


def open_generator(path: str | Path, kind: str | None = None) -> nn.Module:
    """A generator with its weights, frozen, in evaluation mode.

    Args:
        path: a .safetensors of `recipes/train_generator.py`, or a released file or folder.
        kind: which generator a released file is of; our own files say it themselves.

    Raises:
        ValueError: a released file without `kind`.
        WeightsMismatch: the file is of another generator.
    """
    path = Path(path)
    checkpoint = open_checkpoint(path)
    own = checkpoint.config.get("config")
    if isinstance(own, dict) and "generator" in own:
        config, state = read_weights(path)
        build, describe = generator_class(config["generator"])
        net: nn.Module = build(describe.model_validate(config["model"]))
        load_weights(net, state, str(path))
        return net.eval().requires_grad_(False)
    if kind is None:
        raise ValueError(f"{path} does not say which generator it is of: name one of {', '.join(KINDS)}")
    build, _ = generator_class(kind)
    released: Callable[..., Any] = build.released  # type: ignore[attr-defined]
    try:
        settings, tensors = released(checkpoint)
    except KeyError as error:
        raise WeightsMismatch(f"{path} has no tensor {error}: it is no released {kind} generator") from error
    net = build(settings)
    load_weights(net, tensors, str(path))
    return net.eval().requires_grad_(False)
