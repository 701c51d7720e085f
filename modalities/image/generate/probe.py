"""What a generator of codes knows about the class of a picture: a linear probe of its middle layer.

    features = read(gpt, codes [n, K])                       # [n, W]: no class given, averaged over positions
    probe = fit(features, labels, classes=1000)
    accuracy(probe, held_out, labels)                        # share of pictures whose class it names

GigaTok (Xiong et al., arXiv:2504.08736) compares tokenizers by this number, which foretells how well images
can be generated from their codes. The classifier and its training are those of masked autoencoders (He et al.,
arXiv:2111.06377): a batch norm without scales, one linear layer, LARS, cosine after a warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict

from .gpt import GPT

TRUST, MOMENTUM = 0.001, 0.9


class ProbeTraining(Strict):
    """How the probe is trained; as published where not said otherwise."""

    epochs: int = Field(90, ge=1)
    warmup: int = Field(10, ge=0, description="epochs in which the rate climbs from 0")
    rate: float = Field(0.1, gt=0, description="of 256 rows")
    rows: int = Field(512, ge=2, description="of a step")


class Probe(nn.Module):
    """Features [n, W] to logits [n, classes]."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=1e-6, affine=False)
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        out: Tensor = self.head(self.norm(features))
        return out


class LARS(torch.optim.Optimizer):
    """Momentum in which a matrix moves in proportion to its own norm (You et al., arXiv:1708.03888).

    Args:
        parameters: of the probe; vectors move by plain momentum.
        lr: learning rate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                move = parameter.grad
                if parameter.dim() > 1:
                    norm, length = parameter.norm(), move.norm()
                    both = (norm > 0) & (length > 0)
                    move = move * torch.where(both, TRUST * norm / length, 1.0)
                state: dict[str, Any] = self.state[parameter]
                state["momentum"] = state.get("momentum", torch.zeros_like(parameter)) * MOMENTUM + move
                parameter.add_(state["momentum"], alpha=-group["lr"])


@torch.no_grad()
def read(gpt: GPT, codes: Tensor, layer: int | None = None, rows: int = 64) -> Tensor:
    """The stream after a layer, averaged over all positions: float32 [n, W].

    Args:
        gpt: in evaluation mode, or its dropout speaks, too.
        codes: int64 [n, K]; the generator reads them without a class, and all but the last.
        layer: counts from 1; half of the layers if not given.
        rows: read together.
    """
    middle = max(1, len(gpt.blocks) // 2) if layer is None else layer
    found = []
    for part in torch.split(codes, rows):
        none = torch.full_like(part[:, 0], -1)
        found.append(gpt.states(part[:, :-1], none, layer=middle).float().mean(1))
    return torch.cat(found)


def fit(
    features: Tensor,
    labels: Tensor,
    classes: int,
    how: ProbeTraining | None = None,
    generator: Generator | None = None,
) -> Probe:
    """A probe trained on features [n, W] with labels int64 [n], in evaluation mode.

    Args:
        features, labels: of the training pictures, on one device.
        classes: how many there are.
        how: as published if not given.
        generator: of the order of the rows, on the CPU.

    Raises:
        ValueError: another number of labels, or one outside the classes.
    """
    how = how or ProbeTraining()
    if labels.shape != features.shape[:1] or len(labels) < 2:
        raise ValueError(
            f"labels of shape {list(labels.shape)} for features {list(features.shape)}: give one label for each "
            "of at least two rows"
        )
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(
            f"labels from {int(labels.min())} to {int(labels.max())} for {classes} classes: count from 0"
        )
    probe = Probe(features.shape[1], classes).to(features.device)
    optimizer = LARS(probe.parameters(), lr=0.0)
    rows = min(how.rows, len(labels))
    steps = len(labels) // rows
    for epoch in range(how.epochs):
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for step in range(steps):
            part = order[step * rows : (step + 1) * rows]
            optimizer.param_groups[0]["lr"] = how.rate * rows / 256 * _share(epoch + step / steps, how)
            optimizer.zero_grad()
            F.cross_entropy(probe(features[part]), labels[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return probe.eval().requires_grad_(False)


def _share(epoch: float, how: ProbeTraining) -> float:
    """Share of the learning rate at a moment, counted in epochs."""
    if epoch < how.warmup:
        return epoch / how.warmup
    left = max(1, how.epochs - how.warmup)
    return 0.5 * (1 + math.cos(math.pi * (epoch - how.warmup) / left))


@torch.no_grad()
def accuracy(probe: Probe, features: Tensor, labels: Tensor) -> float:
    """Share of the rows whose label is the likeliest class."""
    return float((probe(features).argmax(-1) == labels).float().mean())
