"""Stages of training: begin with the weights of an earlier one, and keep some parts as they are.

stage(net, Path("stage1.safetensors"), freeze=["encoder", "quantizer"])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .checkpoint import open_checkpoint
from .quantize import Quantizer
from .weights import WeightsMismatch


@torch.no_grad()
def stage(net: nn.Module, init: Path | None, freeze: Sequence[str] = ()) -> None:
    """Load and freeze, in place.

    Args:
        net: the network.
        init: weights under the network's own names, or such as its method `ours` (state -> state) translates. What
            the file lacks keeps its start; what it has must fit.
        freeze: names of modules or parameters; their parameters no longer train.

    Raises:
        WeightsMismatch: a tensor that the network does not have, or has in another shape.
        ValueError: a part that the network does not have, or nothing left to train.
    """
    if init is not None:
        state = open_checkpoint(init).state
        _load(net, net.ours(state) if hasattr(net, "ours") else state, init)  # type: ignore[operator]
    names = [name for name, _ in net.named_parameters()]
    for part in freeze:
        if not any(_within(name, part) for name in [*names, *dict(net.named_modules())]):
            tops = ", ".join(name for name, _ in net.named_children())
            raise ValueError(f"freeze names {part!r}, which the network does not have: its parts are {tops}")
    for name, parameter in net.named_parameters():
        if any(_within(name, part) for part in freeze):
            parameter.requires_grad_(False)
    if freeze and not any(parameter.requires_grad for parameter in net.parameters()):
        raise ValueError(f"freeze = {list(freeze)} leaves nothing to train: name fewer parts")
    for name, module in net.named_modules():
        if isinstance(module, Quantizer) and any(_within(name, part) for part in freeze):
            module.frozen = True


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def _load(net: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    own = net.state_dict()
    wrong = [name for name, tensor in state.items() if name not in own or own[name].shape != tensor.shape]
    if wrong or not state:
        raise WeightsMismatch(
            f"{source}: {len(wrong)} of its tensors do not fit this network, first {wrong[0] if wrong else 'none'}: "
            "give the weights of an earlier stage of the same network"
        )
    for name, tensor in state.items():
        own[name].copy_(tensor)
