"""What a modality gives to have its tokenizer trained; `modalities.common.trainer` does the rest.

A modality's class has a class method that builds the task from two tables of the run's TOML file:

    @classmethod
    def training_task(cls, model: dict, data: dict, root: Path[, loss: dict]) -> TokenizerTask

`model` is the network's own configuration, `data` says where the items are (paths relative to `root`, the
folder of the TOML file), `loss` what is asked of the network, if that can be chosen.
`recipes/train_tokenizer.py` finds the class by its registry name, so a stranger's tokenizer trains through the
same door as a built-in one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from torch import Generator, Tensor, nn

from .quantize import Quantizer


def held_out(key: str) -> bool:
    """The rule that holds out a tenth of the items: the sha256 of an item's key is divisible by ten."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10 == 0


def grouped(net: nn.Module, lr: float, linear: nn.Module | None, share: float) -> list[dict[str, Any]]:
    """Optimizer groups of what trains in a network; none is empty.

    Args:
        net: matrices learn at `lr`, vectors too but without decay.
        lr: peak learning rate.
        linear: a part of `net` that starts from data and stays without decay.
        share: its learning rate as a share of `lr`.
    """
    path = [] if linear is None else [p for p in linear.parameters() if p.requires_grad]
    known = {id(parameter) for parameter in path}
    rest = [p for p in net.parameters() if id(p) not in known and p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.dim() > 1], "lr": lr},
        {"params": [p for p in rest if p.dim() <= 1], "lr": lr, "weight_decay": 0.0},
        {"params": path, "lr": lr * share, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def preset_of(
    model: Mapping[str, Any], preset: Callable[[str], BaseModel]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a `[model]` table the fields of its `preset`, if it names one, and the fields that it changes.

    Args:
        model: the table.
        preset: gives a configuration by name.
    """
    base = preset(model["preset"]).model_dump() if "preset" in model else {}
    return base, {key: value for key, value in model.items() if key != "preset"}


class Step(NamedTuple):
    """What the model's forward gives for one batch: the loss, the codes and further figures for the log."""

    loss: Tensor  # scalar, mean over the batch
    ids: Tensor | None  # int64 [B, K] or [B, K, P]; None where latents stay continuous
    figures: Mapping[str, Tensor] = {}  # scalars, detached


class TokenizerTask(ABC):
    """A tokenizer to be trained: network, data and honest figures.

    Everything is deterministic given torch's seed, and `start` the same on every rank of a distributed run. In a
    step each rank has its share of the items and a seed of its own: what all ranks must draw alike, one of
    them broadcasts, as `VQ` does.
    """

    model: nn.Module
    """The network. Its state dict becomes the weight file; parameters train in fp32."""
    train: Tensor
    """All training items, first axis n; small enough to sit in memory."""
    heldout: Tensor
    """Items never trained on, nor anything that would leak them."""
    config: Mapping[str, Any]
    """JSON-able: builds `model` again. Goes into the weight file."""
    data: Mapping[str, Any]
    """JSON-able description of the data: files, counts, licence. Goes into the file beside the weights."""
    headline: str
    """Which key of `fidelity()` and `baselines()` to put first: "psnr", "cd1"."""

    @property
    @abstractmethod
    def quantizer(self) -> Quantizer:
        """The quantizer inside `model`: its size and parts decide how usage is counted."""

    @abstractmethod
    def fidelity(self) -> dict[str, float]:
        """How well held-out items survive encode and decode, by measure: {"psnr": 19.8, ...}."""

    @abstractmethod
    def baselines(self) -> dict[str, float]:
        """What simple ways reach on the same held-out items, in the measure `headline`, by their names.

        {"mean picture": 13.3, "8x8 thumbnail": 18.9, "PCA 64": 19.1}; called once, before training and
        after `start`, so that "this tokenizer before its first step" can be one of the lines.
        """

    @abstractmethod
    def codes(self, items: Tensor) -> Tensor:
        """Codes of items [n, ...] without gradient, in evaluation mode: int64 [n, K] or [n, K, P]."""

    objective: nn.Module | None = None
    """What trains beside the network and stays out of the weight file: discriminators, temperatures."""

    def judge(self, *batch: Tensor, step: int) -> Step:
        """One forward of training on what `batch` gave: the loss. The default asks the model itself."""
        found: Step = self.model(*batch)
        return found

    def start(self) -> None:  # noqa: B027  (optional hook)
        """Initialise from the training data (PCA, k-means); called once, on every rank, unless resuming."""

    def batch(self, index: Tensor, generator: Generator) -> Tensor | tuple[Tensor, ...]:
        """The training items `index` [B], augmented at random with `generator`, and what goes with them."""
        return self.train[index]

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Optimizer groups; a group may have its own "lr" (scaled by the schedule) and "weight_decay"."""
        groups = [{"params": [p for p in self.model.parameters() if p.requires_grad], "lr": lr}]
        if self.objective is not None:
            groups.append({"params": list(self.objective.parameters()), "lr": lr, "weight_decay": 0.0})
        return [group for group in groups if group["params"]]

    def before_step(self, step: int, steps: int) -> None:  # noqa: B027  (optional hook)
        """Called before each forward of training: for stages, such as freezing a part or annealing a weight."""
