"""The patch dVAE's training task: the clouds, augmentation and figures of the point tokenizer's task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from unitok.strict import Strict, validate

from ...common.training import Step, TokenizerTask, grouped
from ...common.weights import load_weights, read_weights
from ..chamfer import cd1
from ..data import CloudData, split
from ..sample import farthest, gather, unit_sphere
from ..training import CHUNK, JUDGED, CloudTask
from .dvae import DVAEConfig, PatchDVAE
from .gumbel import Gumbel


class DVAELoss(Strict):
    """How the bottleneck is annealed: the `[loss]` table. Spans are those of Point-BERT's run, as shares of the run."""

    temperature: tuple[float, float] = Field(
        (1.0, 0.0625), description="of the draw, at first and in the end"
    )
    cooled: float = Field(
        0.5, gt=0, le=1, description="share of the steps after which it stays (cosine before)"
    )
    uniform: float = Field(0.1, ge=0, description="weight of the divergence from even use of the codes")
    delay: float = Field(0.05, ge=0, lt=1, description="share of the steps before that weight begins to rise")


class PatchTask(CloudTask):
    """Trains `PatchDVAE` on the clouds that `CloudTask` would train on, augmented alike.

    Args:
        model: the `[model]` table, fields of `DVAEConfig`.
        data: the `[data]` table, fields of `CloudData`.
        root: folder from which the paths in `data` start.
        loss: the `[loss]` table, fields of `DVAELoss`.

    Raises:
        ConfigError: an unknown field, or a value out of range.
        ValueError: clouds with fewer points than groups, or with none to compare with.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = validate(CloudData, data, "[data]")
        self.annealing = validate(DVAELoss, loss or {}, "[loss]")
        config = validate(DVAEConfig, model, "[model]")
        train, heldout = split(root / self.settings.train, self.settings)
        self.train, self.heldout, self.labels = train.points, heldout.points, None
        if not config.groups <= config.inputs < self.train.shape[1]:
            raise ValueError(
                f"{self.settings.train}: clouds have {self.train.shape[1]} points, model.inputs = {config.inputs} and "
                f"model.groups = {config.groups}: inputs must be at least the groups and leave points to compare with"
            )
        self.config = config.model_dump(mode="json")
        self.data = self.told()
        self.model: PatchDVAE = PatchDVAE(config)
        self.objective = None

    @property
    def quantizer(self) -> Gumbel:
        """The network's own."""
        return self.model.quantizer

    def start(self) -> None:
        """Nothing is fitted to the data beforehand."""
        TokenizerTask.start(self)

    def before_step(self, step: int, steps: int) -> None:
        """Cool the draw and raise the weight of even use, both along a half cosine."""
        a, bottleneck = self.annealing, self.model.quantizer
        first, last = a.temperature
        bottleneck.temperature = first + (last - first) * _rise(step / (a.cooled * steps))
        bottleneck.weight = a.uniform * _rise((step / steps - a.delay) / a.cooled)

    def judge(self, *batch: Tensor, step: int) -> Step:
        """CD1 of coarse and of fine points with the encoded patch, summed, and the bottleneck's loss."""
        coarse, fine, wanted, quantized = self.model(batch[0][:, : self.model.config.inputs])
        errors = {
            "coarse": cd1(coarse.flatten(0, 1), wanted.flatten(0, 1)).mean(),
            "fine": cd1(fine.flatten(0, 1), wanted.flatten(0, 1)).mean(),
        }
        figures = {name: value.detach() for name, value in {**errors, **quantized.losses}.items()}
        return Step(errors["coarse"] + errors["fine"] + quantized.loss, quantized.ids, figures)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Everything at `lr`, vectors without decay."""
        return grouped(self.model, lr, None, 0.0)

    def codes(self, items: Tensor) -> Tensor:
        """Codes [n, G] of clouds [n, N, 3], from their first points."""
        device = next(self.model.parameters()).device
        with torch.no_grad():
            parts = [
                self.quantizer.encode(self.model.encode(part.float().to(device))[0])
                for part in items[:, : self.model.config.inputs].split(CHUNK)
            ]
        return torch.cat(parts).cpu()

    def fidelity(self) -> dict[str, float]:
        """CD1 of held-out clouds: `cd1` of 512 points, `cd1_all` of all, against other points of the same objects."""
        given, others = self._halves()
        frame = unit_sphere(given)
        made = through(self.model, frame.points)[1] * frame.radius + frame.centre
        pairs = {"cd1": JUDGED, "cd1_all": None}
        return {name: float(cd1(made[:, :n], others[:, :n]).mean()) for name, n in pairs.items()}

    def baselines(self) -> dict[str, float]:
        """CD1 of what needs no codes: another sampling, another object, and the centres that the decoder is given."""
        given, others = self._halves()
        wanted = others[:, :JUDGED]
        centres = gather(given, farthest(given, self.model.config.groups))
        return {
            "another sampling (floor)": float(cd1(given[:, :JUDGED], wanted).mean()),
            "another object": float(cd1(given.roll(1, 0)[:, :JUDGED], wanted).mean()),
            "the centres alone": float(cd1(centres, wanted).mean()),
        }


def _rise(share: float) -> float:
    """From 0 to 1 along a half cosine while `share` does."""
    return (1 - math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


def through(net: PatchDVAE, clouds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [n, G], decoded clouds [n, P, 3] and the centres given [n, G, 3] of clouds [n, N, 3] in the unit sphere."""
    device = next(net.parameters()).device
    found = []
    with torch.no_grad():
        for part in clouds.split(CHUNK):
            logits, centres, _ = net.encode(part.to(device))
            ids = net.quantizer.encode(logits)
            found.append((ids.cpu(), net.decode(ids, centres).cpu(), centres.cpu()))
    ids, made, centres = (torch.cat(each) for each in zip(*found, strict=True))
    return ids, made, centres


def load_peer(path: str | Path) -> PatchDVAE:
    """The patch dVAE of a weight file, in evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ConfigError, WeightsMismatch: a file of another network.
    """
    written, state = read_weights(path)
    net = PatchDVAE(validate(DVAEConfig, written, str(path)))
    load_weights(net, state, str(path))
    return net.eval().requires_grad_(False)
