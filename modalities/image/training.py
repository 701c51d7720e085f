"""TiTok's training task: emoji or other pictures, augmented, judged by PSNR beside simple ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from unitok.strict import Strict, validate

from ..common.quantize import FSQ, VQ, Quantizer
from ..common.training import Step, TokenizerTask
from .sources import split
from .titok import TiTokConfig, TiTokNet

CHUNK = 64


class PictureData(Strict):
    """Where the pictures are: the `[data]` table."""

    train: tuple[str, ...] = Field(description="folders, tars or jsonl files, relative to the TOML file")
    licence: str = Field("", description="noted beside the weights")
    crops: int = Field(0, ge=0, description="further crops of pictures of more than twice the size")
    zoom: float = Field(0.12, ge=0, lt=1, description="random crops keep at least 1 - zoom of the side")
    flip: bool = True
    linear_rate: float = Field(0.1, ge=0, description="learning rate of the linear path as a share of lr")
    kmeans: int = Field(12, ge=0, description="rounds of k-means from which a VQ codebook starts")


class PictureTask(TokenizerTask):
    """Trains `TiTokNet` on the pictures of some files.

    Args:
        model: the `[model]` table, fields of `TiTokConfig`.
        data: the `[data]` table, fields of `PictureData`.
        root: folder from which the paths in `data` start.
    """

    headline = "psnr"

    def __init__(self, model: Mapping[str, Any], data: Mapping[str, Any], root: Path) -> None:
        self.settings = validate(PictureData, data, "[data]")
        config = validate(TiTokConfig, model, "[model]")
        paths = [root / path for path in self.settings.train]
        self.train, self.heldout = split(paths, config.size, self.settings.crops)
        self.config = config.model_dump(mode="json")
        self.data = {
            "files": [Path(path).name for path in self.settings.train],
            "licence": self.settings.licence,
            "train": len(self.train),
            "heldout": len(self.heldout),
            "held out": "sha256 of the file's stem divisible by ten; skin tones of those left out",
        }
        self.model = TiTokNet(config)

    @property
    def quantizer(self) -> Quantizer:
        """The network's quantizer."""
        return self.model.quantizer

    def start(self) -> None:
        """PCA into the linear path, k-means into the codebook; nothing without the linear path."""
        linear = self.model.linear
        if linear is None:
            return
        pictures = self.train.float() / 255
        pictures = torch.cat([pictures, pictures.flip(-1)]) if self.settings.flip else pictures
        whiten = 0.0 if isinstance(self.quantizer, VQ) else 0.6 if isinstance(self.quantizer, FSQ) else 1.0
        linear.start(pictures, bits=self.quantizer.bits, whiten=whiten)
        latents = torch.cat([linear.encode(part) for part in torch.split(pictures, 1024)]).detach()
        if isinstance(self.quantizer, VQ):
            self.quantizer.start(latents, rounds=self.settings.kmeans)
        self.quantizer.eval()
        with torch.no_grad():
            linear.fit_gain(latents, self.quantizer(latents).z_q)

    def judge(self, batch: Tensor) -> Step:
        """Mean squared error and the quantizer's own losses."""
        made = self.model(batch)
        error = F.mse_loss(made.pictures, batch)
        return Step(error + made.quantized.loss, made.quantized.ids, {"mse": error.detach()})

    def batch(self, index: Tensor, generator: Generator) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1], each mirrored and cropped at random."""
        pictures = self.train[index].float() / 255
        count = len(pictures)
        keep = 1 - self.settings.zoom * torch.rand(count, generator=generator)
        shift = (1 - keep)[:, None] * (2 * torch.rand(count, 2, generator=generator) - 1)
        mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
        whole = torch.rand(count, generator=generator) < 0.3  # some stay uncropped, as they are in use
        keep, shift = torch.where(whole, 1.0, keep), torch.where(whole[:, None], 0.0, shift)
        affine = torch.zeros(count, 2, 3)
        affine[:, 0, 0] = keep * (mirror if self.settings.flip else 1.0)
        affine[:, 1, 1] = keep
        affine[:, :, 2] = shift
        grid = F.affine_grid(affine, list(pictures.shape), align_corners=False)
        return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The transformers at `lr`, the linear path at its share of it and without decay."""
        linear = [] if self.model.linear is None else list(self.model.linear.parameters())
        known = {id(parameter) for parameter in linear}
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for parameter in self.model.parameters():
            if id(parameter) not in known:
                (matrices if parameter.dim() > 1 else others).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": matrices, "lr": lr},
            {"params": others, "lr": lr, "weight_decay": 0.0},
            {"params": linear, "lr": lr * self.settings.linear_rate, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def codes(self, items: Tensor) -> Tensor:
        """Codes of uint8 pictures [n, 3, S, S]."""
        found = [self.quantizer.encode(self.model.encode(part)) for part in self._parts(items)]
        return torch.cat(found).cpu()

    def fidelity(self) -> dict[str, float]:
        """Mean PSNR over the held-out pictures, in dB."""
        with torch.no_grad():
            made = [
                self.model.decode(self.quantizer.lookup(self.quantizer.encode(self.model.encode(part))))
                for part in self._parts(self.heldout)
            ]
        return {"psnr": psnr(torch.cat(made).cpu(), self.heldout.float() / 255)}

    def baselines(self) -> dict[str, float]:
        """The mean picture, thumbnails, principal components without quantising, and our own start."""
        wanted, train = self.heldout.float() / 255, self.train.float() / 255
        side = wanted.shape[-1]
        small = F.interpolate(wanted, size=8, mode="area")
        tokens = self.model.config.tokens
        lines = {
            "mean picture": psnr(train.mean(0, keepdim=True).expand_as(wanted), wanted),
            "8x8 thumbnail": psnr(F.interpolate(small, size=side, mode="bicubic"), wanted),
            f"PCA {tokens}": _pca(train, wanted, tokens),
            f"PCA {2 * tokens}": _pca(train, wanted, 2 * tokens),
        }
        if self.model.linear is not None:
            lines["quantised PCA, our start"] = self.fidelity()["psnr"]
        return lines

    def _parts(self, items: Tensor) -> list[Tensor]:
        device = next(self.model.parameters()).device
        return [part.to(device).float() / 255 for part in torch.split(items, CHUNK)]


def psnr(made: Tensor, wanted: Tensor) -> float:
    """Mean over pictures [n, 3, S, S] of the peak signal-to-noise ratio in dB; `made` is clamped to [0, 1]."""
    mse = (made.clamp(0, 1) - wanted).square().flatten(1).mean(1)
    return float((-10 * torch.log10(mse.detach().clamp(min=1e-10))).mean())


def _pca(train: Tensor, wanted: Tensor, count: int) -> float:
    """PSNR of `count` principal components, unquantised, fitted at 32 x 32 and shown at full size."""
    side = wanted.shape[-1]
    reduce = max(1, side // 32)
    rows, target = (F.avg_pool2d(x, reduce).flatten(1) for x in (train, wanted))
    mean = rows.mean(0)
    _, _, basis = torch.svd_lowrank(rows - mean, q=min(count, len(rows)), niter=4)
    small = (target - mean) @ basis @ basis.t() + mean
    small = small.view(len(wanted), 3, side // reduce, side // reduce)
    return psnr(F.interpolate(small, size=side, mode="bilinear", align_corners=False), wanted)
