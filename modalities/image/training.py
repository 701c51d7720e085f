"""The training task of every image system: pictures in, augmented; losses of a table; figures beside simple ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from unitok.strict import Strict, merge, validate

from ..common.losses.semantic import StoredFeatures
from ..common.quantize import FSQ, VQ, Quantizer
from ..common.training import Step, TokenizerTask, grouped, preset_of
from ..common.weights import load_weights
from .base import ImageTokenizer, Reconstruction
from .fidelity import psnr as each_psnr
from .fidelity import ssim
from .objective import LossConfig, Objective
from .sources import shelve, split

PIXELS = 64 * 64**2
"""Pixels that go through the network at once outside training: 64 pictures of 64 pixels, 4 of 256."""
STARTED = 4096
"""Pictures whose latents a codebook starts from."""
MOST = 40_000
"""Pictures that principal components are taken of."""


class PictureData(Strict):
    """Where the pictures are: the `[data]` table."""

    train: tuple[str, ...] = Field(description="folders, tars or jsonl files, relative to the TOML file")
    share: tuple[float, ...] = Field(
        (), description="how often each of them is drawn from; as it has pictures"
    )
    heldout: tuple[str, ...] = Field((), description="further sources that are never trained on, only judged")
    memory: bool = Field(
        True, description="keep all pictures in memory; false reads them from disk as they come"
    )
    limit: int = Field(0, ge=0, description="pictures taken of each source at most; 0 = all")
    licence: str = Field("", description="noted beside the weights")
    crops: int = Field(0, ge=0, description="further crops of pictures of more than twice the size")
    zoom: float = Field(0.12, ge=0, lt=1, description="random crops keep at least 1 - zoom of the side")
    flip: bool = True
    text: str | None = Field(
        None, description="text states of all captions (safetensors, by key), for TA-TiTok"
    )
    linear_rate: float = Field(0.1, ge=0, description="learning rate of the linear path as a share of lr")
    kmeans: int = Field(
        12, ge=0, description="rounds of k-means from which a VQ codebook starts; 0 = no start"
    )


class PictureTask(TokenizerTask):
    """Trains the network of an image system on the pictures of some files.

    Args:
        system: the tokenizer's class.
        model: the `[model]` table, fields of its configuration, or `preset = "name"` and changes to it.
        data: the `[data]` table, fields of `PictureData`.
        root: folder from which the paths in `data` and `loss` start.
        loss: the `[loss]` table, fields of `LossConfig`.
    """

    headline = "psnr"
    Losses: type[LossConfig] = LossConfig
    """The `[loss]` table, for systems with losses of their own."""
    Aim: type[Objective] = Objective
    """What is made of it."""

    def __init__(
        self,
        system: type[ImageTokenizer],
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        root: Path,
        loss: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = validate(PictureData, data, "[data]")
        config = validate(system.Config, merge(*preset_of(model, system.preset)), "[model]")
        self.losses = validate(self.Losses, loss or system.losses, "[loss]")
        paths = [root / path for path in self.settings.train]
        found = (split if self.settings.memory else shelve)(
            paths,
            config.size,
            self.settings.crops,
            self.settings.limit,
            [root / path for path in self.settings.heldout],
            config.resize,
        )
        self.train: Any = found.train
        self.heldout = found.heldout
        self.chance = _chance(self.settings.share, found.counts)
        self.low, self.high = config.range
        self.config = config.model_dump(mode="json")
        self.data = {
            "files": [Path(path).name for path in self.settings.train],
            "held out files": [Path(path).name for path in self.settings.heldout],
            "licence": self.settings.licence,
            "train": len(self.train),
            "heldout": len(self.heldout),
            "held out": "sha256 of the file's stem divisible by ten; skin tones of those left out",
            "loss": self.losses.model_dump(mode="json", exclude_none=True),
        }
        self.model: Any = system.Net(config)
        self.objective: Objective = self.Aim(self.losses, root)
        painter, vqgan = getattr(self.model, "proxy", None), self.objective.vqgan
        if painter is not None and vqgan is not None:  # whose codes are predicted also paints them
            load_weights(painter, vqgan.decoder.state_dict(), self.losses.proxy.vqgan)  # type: ignore[union-attr]
        self.keys, self.heldout_keys = found.keys, found.heldout_keys
        self.text = None if self.settings.text is None else StoredFeatures(root / self.settings.text)

    @property
    def quantizer(self) -> Quantizer:
        """The network's quantizer."""
        found: Quantizer = self.model.quantizer
        return found

    @torch.no_grad()
    def start(self) -> None:
        """PCA into the linear path if there is one, k-means of the latents into a VQ codebook.

        A network with a method `fit` then gets pictures in parts, [n, 3, S, S] in its range.
        """
        self._start_codes()
        if hasattr(self.model, "fit"):
            few = torch.split(self._some(STARTED), 256)
            self.model.fit(part for some in few for part in self._parts(self.train[some]))

    def _start_codes(self) -> None:
        linear = getattr(self.model, "linear", None)
        if linear is None:
            if isinstance(self.quantizer, VQ) and self.settings.kmeans:
                z = torch.cat(
                    [self.model.encode(part) for part in self._parts(self.train[self._some(STARTED)])]
                )
                self.quantizer.start(z, rounds=self.settings.kmeans)
            return
        rows = []
        for numbers in torch.split(torch.arange(min(len(self.train), MOST)), 1024):
            pictures = self.train[numbers].float() / 255
            views = [pictures, pictures.flip(-1)] if self.settings.flip else [pictures]
            rows += [linear.reduce(view) for view in views]
        small = torch.cat(rows)
        whiten = 0.0 if isinstance(self.quantizer, VQ) else 0.6 if isinstance(self.quantizer, FSQ) else 1.0
        linear.start(small, bits=self.quantizer.bits, whiten=whiten)
        if not self.quantizer.size:
            return  # continuous latents lose nothing that a gain would have to make up for
        latents = torch.cat([linear.latents(part) for part in torch.split(small, 1024)])
        if isinstance(self.quantizer, VQ):
            self.quantizer.start(latents, rounds=self.settings.kmeans)
        self.quantizer.eval()
        linear.fit_gain(latents, torch.cat([self.quantizer(part).z_q for part in latents.split(2048)]))

    def judge(self, *batch: Tensor, step: int) -> Step:
        """The sum of the table's losses on pictures [B, 3, S, S] in [0, 1]."""
        pictures, *text = batch
        options: dict[str, Any] = {} if self.losses.paints else {"paint": False}
        found = self.model(self._to_net(pictures), *text, **options)
        made = Reconstruction(self._from_net(found.pictures), found.quantized, found.features)
        wanted = pictures if found.wanted is None else self._from_net(found.wanted)
        parts = self.objective(made, wanted, step, pictures)
        total = torch.stack([value.float() for value in parts.values()]).sum()
        return Step(total, found.quantized.ids, {name: value.detach() for name, value in parts.items()})

    def batch(self, index: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Pictures [B, 3, S, S] in [0, 1], each mirrored and cropped at random, and the states of their captions."""
        if self.chance is not None:
            index = torch.multinomial(self.chance, len(index), replacement=True, generator=generator)
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
        views = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        return (views,) if self.text is None else (views, self.text([self.keys[i] for i in index.tolist()]))

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The network at `lr`, its linear path and the discriminator at their shares of it and without decay."""
        linear = getattr(self.model, "linear", None)
        own = grouped(self.model, lr, linear, self.settings.linear_rate)
        return [*own, *map(dict, self.objective.parameter_groups(lr))]

    @torch.no_grad()
    def codes(self, items: Tensor) -> Tensor:
        """Codes of uint8 pictures [n, 3, S, S]."""
        found = [self.quantizer.encode(self.model.encode(part)) for part in self._parts(items)]
        return torch.cat(found).cpu()

    @torch.no_grad()
    def fidelity(self) -> dict[str, float]:
        """Mean PSNR in dB and SSIM over the held-out pictures."""
        found: dict[str, list[Tensor]] = {"psnr": [], "ssim": []}
        first = 0
        for part in self._parts(self.heldout):
            here = slice(first, first := first + len(part))
            text = [] if self.text is None else [self.text(self.heldout_keys[here]).to(part.device)]
            made = self.model.decode(self.quantizer(self.model.encode(part)).z_q, *text)
            made, wanted = self._from_net(made.cpu()).clamp(0, 1), self.heldout[here].float() / 255
            found["psnr"].append(each_psnr(made, wanted))
            found["ssim"].append(ssim(made, wanted))
        return {name: float(torch.cat(values).mean()) for name, values in found.items()}

    def baselines(self) -> dict[str, float]:
        """The mean picture, thumbnails, principal components without quantising, and our own start."""
        wanted = self.heldout.float() / 255
        side, tokens = wanted.shape[-1], int(self.model.config.tokens)
        numbers = self._some(8000)
        total, rows = torch.zeros_like(wanted[0], dtype=torch.float64), []
        for some in torch.split(numbers, 512):
            train = self.train[some].float() / 255
            total += train.sum(0)
            rows.append(_rows(train))
        mean = (total / len(numbers)).float().expand_as(wanted)
        small = F.interpolate(wanted, size=8, mode="area")
        lines = {
            "mean picture": psnr(mean, wanted),
            "8x8 thumbnail": psnr(F.interpolate(small, size=side, mode="bicubic"), wanted),
            f"PCA {tokens}": _pca(torch.cat(rows), wanted, tokens),
            f"PCA {2 * tokens}": _pca(torch.cat(rows), wanted, 2 * tokens),
        }
        if getattr(self.model, "linear", None) is not None:
            lines["quantised PCA, our start"] = self.fidelity()["psnr"]
        return lines

    def _some(self, count: int) -> Tensor:
        """At most `count` numbers of training pictures, spread over all of them."""
        return torch.arange(0, len(self.train), max(1, -(-len(self.train) // count)))

    def _to_net(self, pictures: Tensor) -> Tensor:
        return pictures if (self.low, self.high) == (0, 1) else pictures * (self.high - self.low) + self.low

    def _from_net(self, pictures: Tensor) -> Tensor:
        return pictures if (self.low, self.high) == (0, 1) else (pictures - self.low) / (self.high - self.low)

    def _parts(self, items: Tensor) -> Iterator[Tensor]:
        """uint8 pictures in pieces, in the network's range, on its device."""
        device = next(self.model.parameters()).device
        for part in torch.split(items, max(1, PIXELS // items.shape[-1] ** 2)):
            yield self._to_net(part.to(device).float() / 255)


def _chance(share: Sequence[float], counts: Sequence[int]) -> Tensor | None:
    """How likely each picture is to be drawn [n], None if all are alike."""
    if not share:
        return None
    if (
        len(share) != len(counts)
        or min(share) < 0
        or not sum(s > 0 and c > 0 for s, c in zip(share, counts, strict=False))
    ):
        raise ValueError(
            f"data.share {list(share)} for {len(counts)} sources: give each a share, some above 0"
        )
    return torch.cat([torch.full((c,), s / c if c else 0.0) for s, c in zip(share, counts, strict=True)])


def psnr(made: Tensor, wanted: Tensor) -> float:
    """Mean over pictures [n, 3, S, S] of the peak signal-to-noise ratio in dB; `made` is clamped to [0, 1]."""
    return float(each_psnr(made.clamp(0, 1), wanted).mean())


def _rows(pictures: Tensor) -> Tensor:
    """Pictures [n, 3, S, S] averaged down to about 32 x 32 and flattened."""
    return F.avg_pool2d(pictures, max(1, pictures.shape[-1] // 32)).flatten(1)


def _pca(rows: Tensor, wanted: Tensor, count: int) -> float:
    """PSNR of `count` principal components of `rows`, unquantised, fitted at 32 x 32 and shown at full size."""
    side = wanted.shape[-1]
    mean, target = rows.mean(0), _rows(wanted)
    _, _, basis = torch.svd_lowrank(rows - mean, q=min(count, len(rows)), niter=4)
    small = (target - mean) @ basis @ basis.t() + mean
    reduced = side // max(1, side // 32)
    small = small.view(len(wanted), 3, reduced, reduced)
    return psnr(F.interpolate(small, size=side, mode="bilinear", align_corners=False), wanted)
