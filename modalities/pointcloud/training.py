"""The point tokenizer's training task: clouds, augmented, judged by Chamfer distance beside simple ways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from unitok.strict import validate

from ..common.quantize import Quantizer
from ..common.training import Step, TokenizerTask, grouped, preset_of
from .any2point.sources import load_source
from .chamfer import cd1, match
from .config import LossConfig, TokenizerConfig
from .data import CloudData, Clouds, split
from .front import frozen_shape, source_of
from .network import TokenizerNet
from .objective import CloudLoss
from .sample import farthest, gather, turns, unit_sphere
from .transport import SHARP, transports

CHUNK = 32
JUDGED = 512
"""Points of each cloud that figures are taken from."""


class CloudTask(TokenizerTask):
    """Trains `TokenizerNet` on the clouds of a file.

    Args:
        model: the `[model]` table, fields of `TokenizerConfig`.
        data: the `[data]` table, fields of `CloudData`.
        root: folder from which the paths in `data` start.
        loss: the `[loss]` table, fields of `LossConfig`.
    """

    headline = "cd1"

    def __init__(
        self,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = validate(CloudData, data, "[data]")
        config = configured(model)
        train, heldout = split(root / self.settings.train, self.settings)
        if config.rgb and (train.colours is None or heldout.colours is None):
            raise ValueError(
                f"model.rgb = true, but {self.settings.train} has no colours: give points [n, N, 6] with red, green and "
                "blue in [0, 1], or say rgb = false"
            )
        self.train, self.heldout = (_columns(side, config.rgb) for side in (train, heldout))
        self.labels = train.labels
        if self.train.shape[1] <= config.inputs:
            raise ValueError(
                f"{self.settings.train}: clouds have {self.train.shape[1]} points and {config.inputs} are encoded: "
                "others of the same object are needed to compare with, so lower model.inputs or sample more"
            )
        frozen = None
        if self.settings.source:
            if config.front != "any2point":
                raise ValueError(f"data.source is given, but model.front is {config.front!r}: say any2point")
            frozen = load_source(root / self.settings.source, model.get("source"))
            config = source_of(config, frozen)
        self.config = config.model_dump(mode="json")
        self.data = self.told()
        if config.front == "any2point":
            self.data["frozen"] = frozen_shape(config) + ("" if frozen else ", random")
        self.model: TokenizerNet = TokenizerNet(config, frozen)
        classes = 0 if self.labels is None else int(self.labels.max()) + 1
        self.loss = CloudLoss(validate(LossConfig, loss or {}, "[loss]"), self.model.quantizer.dim, classes)
        self.objective: nn.Module | None = self.loss if self.loss.classify is not None else None

    def told(self) -> dict[str, Any]:
        """What weights say of the clouds that they were trained on."""
        return {
            "file": Path(self.settings.train).name,
            "licence": self.settings.licence,
            "train": len(self.train),
            "heldout": len(self.heldout),
            "points": self.train.shape[1],
            "held out": "sha256 of the object's key divisible by ten",
        }

    @property
    def quantizer(self) -> Quantizer:
        """The network's own."""
        return self.model.quantizer

    def start(self) -> None:
        """Fit the linear path, if there is one: components of transport maps, then the decoder from quantised values."""
        linear, generator = self.model.linear, Generator().manual_seed(0)
        if linear is None:
            return
        everything = torch.arange(len(self.train))
        rounds = [self.clouds(everything, generator) for _ in range(self.settings.fit)]
        inputs = self.model.config.inputs
        maps = torch.cat([linear.maps(clouds[:, :inputs, :3]) for clouds in rounds])
        levels = torch.tensor([level for levels in self.model.config.levels for level in levels])
        linear.fit_encoder(maps, levels, self.settings.widen)
        values = linear.encode(maps).clamp(-1 + 1e-5, 1 - 1e-5)
        quantised = self.quantizer(torch.atanh(values)).z_q.detach()
        some = max(1, self.settings.fit // 2)  # the large maps are the slow part
        wanted = torch.cat(
            [transports(clouds[:, inputs:, :3], linear.reference, SHARP) for clouds in rounds[:some]]
        )
        linear.fit_decoder(quantised[: len(wanted)], wanted.flatten(1))

    def judge(self, *batch: Tensor, step: int) -> Step:
        """The loss of a step on what `batch` gave."""
        clouds, *labels = batch
        return cast(Step, self.loss(self.model(clouds), *labels))

    def batch(self, index: Tensor, generator: Generator) -> Tensor | tuple[Tensor, ...]:
        """As `clouds`, and the classes [B] if they count."""
        clouds = self.clouds(index, generator)
        return clouds if self.objective is None or self.labels is None else (clouds, self.labels[index])

    def clouds(self, index: Tensor, generator: Generator) -> Tensor:
        """Points [B, inputs + M, 3 or 6]: some to encode, M others to compare with, augmented alike."""
        clouds = self.train[index].float()
        count, points, _ = clouds.shape  # colours keep their place beside the coordinates
        order = torch.rand(count, points, generator=generator).argsort(1)
        inputs = self.model.config.inputs
        chosen = gather(clouds, order[:, : min(points, inputs + self.settings.judged)])
        clouds, colours = chosen[..., :3], chosen[..., 3:]
        changed = clouds @ self._changes(count, generator)
        plain = torch.rand(count, generator=generator) < self.settings.plain
        clouds = torch.where(plain[:, None, None], clouds, changed)
        frame = unit_sphere(clouds[:, :inputs])
        return torch.cat([(clouds - frame.centre) / frame.radius, colours], -1)

    def _changes(self, count: int, generator: Generator) -> Tensor:
        """Random stretches, mirrorings and turns about the up axis: matrices [count, 3, 3]."""
        scale = (self.settings.stretch * torch.randn(count, 3, generator=generator)).exp()
        mirror = torch.where(torch.rand(count, 2, generator=generator) < 0.5, -1.0, 1.0)
        scale = scale * torch.cat([mirror, torch.ones(count, 1)], dim=1)
        angle = self.settings.turn * torch.randn(count, generator=generator)
        angle = angle + math.pi / 2 * (torch.rand(count, generator=generator) < 0.3)
        return torch.diag_embed(scale) @ turns(angle)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The network at `lr`, the linear path at its share of it and without decay, the classifier at `lr`."""
        groups = grouped(self.model, lr, self.model.linear, self.settings.linear_rate)
        extra = [] if self.objective is None else list(self.objective.parameters())
        return [*groups, {"params": extra, "lr": lr, "weight_decay": 0.0}] if extra else groups

    def codes(self, items: Tensor) -> Tensor:
        """Codes [n, K] of clouds [n, N, 3 or 6], from their first points."""
        return self._encode(items[:, : self.model.config.inputs].float()).cpu()

    def fidelity(self) -> dict[str, float]:
        """CD1 of held-out clouds at all tokens and at prefixes, against other points of the same objects.

        `cd1`: 512 decoded points against 512; `cd1_4`, `cd1_16`: the same from 4 or 16 tokens; `cd1_all`: all
        decoded points against as many others, where the data has them; `colours`: root of the mean squared difference
        of a decoded point's colour to that of the nearest point, where there are colours.
        """
        given, others = self._halves()
        frame = unit_sphere(given[..., :3])
        ids = self._encode(torch.cat([frame.points, given[..., 3:]], -1))
        found = {}
        for name, kept, points in (
            ("cd1", None, JUDGED),
            ("cd1_4", 4, JUDGED),
            ("cd1_16", 16, JUDGED),
            ("cd1_all", None, None),
        ):
            whole = self._decode(ids[:, :kept]).cpu()[:, :points]
            made, wanted = whole[..., :3] * frame.radius + frame.centre, others[:, :points]
            found[name] = float(cd1(made, wanted[..., :3]).mean())
            if name == "cd1_all" and self.model.config.rgb:
                beside = gather(wanted[..., 3:], match(made, wanted[..., :3]).forth)
                found["colours"] = float((whole[..., 3:] - beside).square().mean().sqrt())
        return found

    def baselines(self) -> dict[str, float]:
        """CD1 of what needs no tokenizer, of grid anchors at our number of tokens, and of our own start."""
        given, others = (half[..., :3] for half in self._halves())
        wanted = others[:, :JUDGED]
        tokens = min(self.model.tokens, given.shape[1])
        anchors = gather(given, farthest(given, tokens))
        grid = (torch.floor((anchors + 1) * 16).clamp(0, 31) + 0.5) / 16 - 1
        lines = {
            "another sampling (floor)": float(cd1(given[:, :JUDGED], wanted).mean()),
            "another object": float(cd1(given.roll(1, 0)[:, :JUDGED], wanted).mean()),
            f"{tokens} anchors on a 32^3 grid": float(cd1(grid, wanted).mean()),
        }
        if self.model.linear is not None:
            lines["quantised transport PCA, our start"] = self.fidelity()["cd1"]
        return lines

    def _halves(self) -> tuple[Tensor, Tensor]:
        """Held-out clouds: the points to encode, and up to as many others as are decoded."""
        inputs, points = self.model.config.inputs, self.model.config.points
        clouds = self.heldout.float()
        return clouds[:, :inputs], clouds[:, inputs : inputs + points]

    def _encode(self, clouds: Tensor) -> Tensor:
        device = next(self.model.parameters()).device
        with torch.no_grad():
            parts = [
                self.quantizer.encode(self.model.encode(part.to(device)))
                for part in torch.split(clouds, CHUNK)
            ]
        return torch.cat(parts)

    def _decode(self, ids: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat(
                [self.model.decode(self.quantizer.lookup(part)) for part in torch.split(ids, CHUNK)]
            )


def _columns(side: Clouds, rgb: bool) -> Tensor:
    """The clouds [n, N, 3], with `rgb` [n, N, 6]."""
    return side.points if side.colours is None or not rgb else torch.cat([side.points, side.colours], -1)


def configured(model: Mapping[str, Any]) -> TokenizerConfig:
    """The `[model]` table as a configuration: fields in the place of those of its `preset`, if it names one."""
    base, changes = preset_of(model, TokenizerConfig.preset)
    changed = {**base, **changes}  # not merged: a quantizer takes the place of another whole
    return validate(TokenizerConfig, changed, "[model]")
