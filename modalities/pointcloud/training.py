"""The point tokenizer's training task: clouds, augmented, judged by Chamfer distance beside simple ways."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Generator, Tensor

from unitok.strict import Strict, validate

from ..common.quantize import Quantizer
from ..common.training import TokenizerTask, grouped, held_out
from . import io
from .chamfer import cd1
from .network import TokenizerConfig, TokenizerNet
from .sample import farthest, gather, turns, unit_sphere
from .transport import SHARP, transports

CHUNK = 32
JUDGED = 512
"""Points of a cloud that is encoded, of the decoded cloud and of the cloud that it is compared with."""


class CloudData(Strict):
    """Where the clouds are: the `[data]` table."""

    train: str = Field(description="a .jsonl of records with a cloud, or an .npz with points [n, N, 3]")
    field: str = Field("cloud", description="jsonl: the field with the cloud's file")
    key: str = Field("furniture", description="npz: cloud i is held out by the hash of '<key>/<i>'")
    licence: str = Field("", description="noted beside the weights")
    stretch: float = Field(0.2, ge=0, description="augmentation: deviation of the log of each axis's scale")
    turn: float = Field(0.15, ge=0, description="augmentation: deviation of the angle about the up axis")
    plain: float = Field(0.3, ge=0, le=1, description="share of clouds that are only sampled anew")
    fit: int = Field(4, ge=1, description="passes over the clouds from which the linear path is fitted")
    linear_rate: float = Field(0.1, ge=0, description="learning rate of the linear path as a share of lr")
    widen: float = Field(1.35, gt=0, description="how much wider the components' ranges are than the best")


class CloudTask(TokenizerTask):
    """Trains `TokenizerNet` on the clouds of a file.

    Args:
        model: the `[model]` table, fields of `TokenizerConfig`.
        data: the `[data]` table, fields of `CloudData`.
        root: folder from which the path in `data` starts.
    """

    headline = "cd1"

    def __init__(self, model: Mapping[str, Any], data: Mapping[str, Any], root: Path) -> None:
        self.settings = validate(CloudData, data, "[data]")
        config = validate(TokenizerConfig, model, "[model]")
        self.train, self.heldout = split(root / self.settings.train, self.settings)
        if self.train.shape[1] <= config.inputs:
            raise ValueError(
                f"{self.settings.train}: clouds have {self.train.shape[1]} points and {config.inputs} are encoded: "
                "others of the same object are needed to compare with, so lower model.inputs or sample more"
            )
        self.config = config.model_dump(mode="json")
        self.data = {
            "file": Path(self.settings.train).name,
            "licence": self.settings.licence,
            "train": len(self.train),
            "heldout": len(self.heldout),
            "points": self.train.shape[1],
            "held out": "sha256 of the object's key divisible by ten",
        }
        self.model: TokenizerNet = TokenizerNet(config)

    @property
    def quantizer(self) -> Quantizer:
        """The network's FSQ."""
        return self.model.quantizer

    def start(self) -> None:
        """Fit the linear path: components of the transport maps, then the decoder from quantised values."""
        linear, generator = self.model.linear, Generator().manual_seed(0)
        everything = torch.arange(len(self.train))
        rounds = [self.batch(everything, generator) for _ in range(self.settings.fit)]
        inputs = self.model.config.inputs
        maps = torch.cat([linear.maps(clouds[:, :inputs]) for clouds in rounds])
        levels = torch.tensor([level for levels in self.model.config.levels for level in levels])
        linear.fit_encoder(maps, levels, self.settings.widen)
        values = linear.encode(maps).clamp(-1 + 1e-5, 1 - 1e-5)
        quantised = self.quantizer(torch.atanh(values)).z_q.detach()
        some = max(1, self.settings.fit // 2)  # the large maps are the slow part
        wanted = torch.cat(
            [transports(clouds[:, inputs:], linear.reference, SHARP) for clouds in rounds[:some]]
        )
        linear.fit_decoder(quantised[: len(wanted)], wanted.flatten(1))

    def batch(self, index: Tensor, generator: Generator) -> Tensor:
        """Points [B, inputs + M, 3]: some to encode, M others to compare with, augmented alike."""
        clouds = self.train[index].float()
        count, points, _ = clouds.shape
        order = torch.rand(count, points, generator=generator).argsort(1)
        inputs = self.model.config.inputs
        clouds = gather(clouds, order[:, : min(points, inputs + JUDGED)])
        changed = clouds @ self._changes(count, generator)
        plain = torch.rand(count, generator=generator) < self.settings.plain
        clouds = torch.where(plain[:, None, None], clouds, changed)
        frame = unit_sphere(clouds[:, :inputs])
        return (clouds - frame.centre) / frame.radius

    def _changes(self, count: int, generator: Generator) -> Tensor:
        """Random stretches, mirrorings and turns about the up axis: matrices [count, 3, 3]."""
        scale = (self.settings.stretch * torch.randn(count, 3, generator=generator)).exp()
        mirror = torch.where(torch.rand(count, 2, generator=generator) < 0.5, -1.0, 1.0)
        scale = scale * torch.cat([mirror, torch.ones(count, 1)], dim=1)
        angle = self.settings.turn * torch.randn(count, generator=generator)
        angle = angle + math.pi / 2 * (torch.rand(count, generator=generator) < 0.3)
        return torch.diag_embed(scale) @ turns(angle)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The transformers at `lr`, the linear path at its share of it and without decay."""
        return grouped(self.model, lr, self.model.linear, self.settings.linear_rate)

    def codes(self, items: Tensor) -> Tensor:
        """Codes [n, K] of clouds [n, N, 3], from their first points."""
        return self._encode(items[:, : self.model.config.inputs].float()).cpu()

    def fidelity(self) -> dict[str, float]:
        """CD1 of held-out clouds at all tokens and at prefixes, against other points of the same objects.

        `cd1`: 512 decoded points against 512; `cd1_4`, `cd1_16`: the same from 4 or 16 tokens; `cd1_all`: all
        decoded points against as many others, where the data has them.
        """
        given, others = self._halves()
        frame = unit_sphere(given)
        ids = self._encode(frame.points)
        found = {}
        for name, kept, points in (
            ("cd1", None, JUDGED),
            ("cd1_4", 4, JUDGED),
            ("cd1_16", 16, JUDGED),
            ("cd1_all", None, None),
        ):
            made = self._decode(ids[:, :kept]).cpu()[:, :points] * frame.radius + frame.centre
            found[name] = float(cd1(made, others[:, :points]).mean())
        return found

    def baselines(self) -> dict[str, float]:
        """CD1 of what needs no tokenizer, of grid anchors at our number of tokens, and of our own start."""
        given, others = self._halves()
        wanted = others[:, :JUDGED]
        tokens = min(self.model.tokens, given.shape[1])
        anchors = gather(given, farthest(given, tokens))
        grid = (torch.floor((anchors + 1) * 16).clamp(0, 31) + 0.5) / 16 - 1
        return {
            "another sampling (floor)": float(cd1(given[:, :JUDGED], wanted).mean()),
            "another object": float(cd1(given.roll(1, 0)[:, :JUDGED], wanted).mean()),
            f"{tokens} anchors on a 32^3 grid": float(cd1(grid, wanted).mean()),
            "quantised transport PCA, our start": self.fidelity()["cd1"],
        }

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


def split(path: Path, settings: CloudData) -> tuple[Tensor, Tensor]:
    """Training and held-out clouds of a file, float16 [n, N, 3] each, in the unit sphere.

    Raises:
        ValueError: no clouds, clouds with different numbers of points, or no cloud on one side.
    """
    if path.suffix == ".npz":
        stack = io.read_stack(path)
        keys = [f"{settings.key}/{i}" for i in range(len(stack))]
        out = torch.tensor([held_out(key) for key in keys], dtype=torch.bool)
    else:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        clouds = [io.load(path.parent / record[settings.field]["file"]) for record in records]
        counts = {len(cloud) for cloud in clouds}
        if len(counts) != 1:
            raise ValueError(
                f"{path}: clouds have {sorted(counts)[:5]} points: training needs one number of them"
            )
        stack = torch.stack(clouds)
        out = torch.tensor([_is_out(record) for record in records])
    if bool(out.all()) or not bool(out.any()):
        raise ValueError(
            f"{path}: {len(out)} clouds, {int(out.sum())} of them held out: both sides need some"
        )
    stack = unit_sphere(stack.float()).points.half()
    return stack[~out], stack[out]


def _is_out(record: Mapping[str, Any]) -> bool:
    if "split" in record:
        return bool(record["split"] == "heldout")
    return held_out(str(record["key"]))
