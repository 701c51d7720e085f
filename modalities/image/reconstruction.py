"""Evaluate a picture tokenizer: pictures through it and back, all measures, figures of speed and of its codes.

Compared is what the tokenizer sees (its own crop and size) with what it gives back, clamped and rounded to
8 bits as a file would hold it. A system without codes (continuous latents) is decoded from its latents.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from unitok.modality import BadItem, Codes

from ..common.usage import Usage
from .fidelity import FeatureSpace, feature_space, floor, frechet, psnr, ssim
from .figures import grid
from .io import read_image, to_image
from .library import entries
from .prefixes import Prefixes
from .sources import DamagedArchive, Picture, pictures

CELL = 128  # least side of a picture in the figure, in pixels


class Pair(NamedTuple):
    """One picture as the tokenizer saw it, what came back, and what comes back from its first codes."""

    name: str
    original: Image.Image
    made: Image.Image
    coarser: tuple[Image.Image, ...] = ()


class Evaluation(NamedTuple):
    """The figures, JSON-able, and the first pairs."""

    report: dict[str, Any]
    pairs: list[Pair]
    lengths: Sequence[int] = ()


def evaluate(
    tokenizer: Any,
    path: Path,
    perceptual: nn.Module,
    space: FeatureSpace | None = None,
    *,
    batch: int = 16,
    keep: int = 12,
    budgets: Sequence[int] = (),
    device: str = "cpu",
    seen: Callable[[int], object] = lambda count: None,
) -> Evaluation:
    """Reconstruct pictures and measure.

    Args:
        tokenizer: an image modality: `encode`, `show`, `decode_tensor`, and `latents` if it has no codes.
        path: a folder, tar or jsonl file; pictures that cannot be read or encoded are skipped and named.
        perceptual: a measure with a `name`, of made and wanted pictures [B, 3, H, W] in [0, 1].
        space: where the Frechet distance is taken; the default of `feature_space` if None.
        batch: pictures at a time.
        keep: how many pairs come back for a figure.
        budgets: most codes of a picture, each of which is judged by itself, too; of tokenizers with nested codes.
        device: where the measures are; the tokenizer has its own.
        seen: called with the number of files after each batch.

    Raises:
        ValueError: no such source, not one picture could be reconstructed, or budgets of a system without codes.
    """
    if budgets and is_continuous(tokenizer):
        raise ValueError(
            f"budgets {list(budgets)} of continuous latents, which have no codes: leave them out"
        )
    space = space or feature_space(device=device)
    run = _Run(tokenizer, perceptual, space, keep, device, Prefixes(tokenizer, budgets))
    for chunk in _batches(_opened(path, run.skipped), batch):
        run.add(chunk)
        seen(run.count + len(run.skipped))
    if not run.count:
        why = "; ".join(f"{each['file']}: {each['reason']}" for each in run.skipped[:3])
        raise ValueError(f"no picture could be reconstructed ({why or 'there is none'}): give other files")
    return Evaluation(run.report(), run.pairs, run.prefixes.lengths)


def figure(pairs: list[Pair], across: int = 3, lengths: Sequence[int] = ()) -> Image.Image:
    """Original | reconstruction, `across` pairs in a row; or original | from few codes | from more | from all, a row each."""
    few = len(pairs[0].coarser)
    across = 1 if few else across
    rows = [
        [picture for pair in pairs[at : at + across] for picture in (pair.original, *pair.coarser, pair.made)]
        for at in range(0, len(pairs), across)
    ]
    cell = max(CELL, *(max(pair.original.size) for pair in pairs))
    titles = (
        "original",
        *(f"{length} codes" for length in lengths),
        "all codes" if few else "reconstruction",
    )
    return grid(rows, titles=titles * min(across, len(pairs)), cell=cell)


class _Run:
    """What adds up over batches."""

    def __init__(
        self,
        tokenizer: Any,
        perceptual: nn.Module,
        space: FeatureSpace,
        keep: int,
        device: str,
        prefixes: Prefixes,
    ) -> None:
        self.device, self.prefixes = device, prefixes
        self.tokenizer, self.perceptual, self.space, self.keep = tokenizer, perceptual, space, keep
        self.continuous = is_continuous(tokenizer)
        self.usage = None if self.continuous else _usage(tokenizer)
        self.pairs: list[Pair] = []
        self.skipped: list[dict[str, str]] = []
        self.count, self.bits, self.size = 0, 0.0, [0, 0]
        self.sums = {"psnr": 0.0, "ssim": 0.0, "perceptual": 0.0}
        self.features: list[tuple[Tensor, Tensor]] = []
        self.times: list[tuple[int, float, float]] = []  # pictures, seconds to encode, seconds to decode

    def add(self, chunk: list[tuple[str, Image.Image]]) -> None:
        """Reconstruct and measure a batch."""
        coded, chunk = self._encoded(chunk)
        if not chunk:
            return
        start = time.perf_counter()
        made = self.tokenizer.decode_tensor(coded).cpu()
        self.times[-1] = (*self.times[-1][:2], time.perf_counter() - start)
        made = (made.float().clamp(0, 1) * 255).round() / 255
        shown = [self.tokenizer.show(image) for _, image in chunk]
        wanted = torch.stack([_pixels(image) for image in shown])
        self._measure(made, wanted)
        coarser = self.prefixes.add(coded, wanted, self.keep - len(self.pairs))
        for (name, _), original, back, few in zip(chunk, shown, made, coarser, strict=True):
            if len(self.pairs) < self.keep:
                self.pairs.append(Pair(name, original, to_image(back), few))

    def _encoded(self, chunk: list[tuple[str, Image.Image]]) -> tuple[Any, list[tuple[str, Image.Image]]]:
        """Codes (or latents) of those pictures that the tokenizer takes, and these pictures."""
        while chunk:
            items = [image for _, image in chunk]
            start = time.perf_counter()
            try:
                coded = self.tokenizer.latents(items) if self.continuous else self.tokenizer.encode(items)
            except BadItem as error:
                self.skipped.append({"file": chunk[error.index][0], "reason": error.reason})
                chunk = chunk[: error.index] + chunk[error.index + 1 :]
                continue
            self.times.append((len(chunk), time.perf_counter() - start, 0.0))
            if self.usage is not None:
                self._count(coded)
            return coded, chunk
        return [], []

    def _count(self, codes: list[Codes]) -> None:
        assert self.usage is not None
        per_position = sum(np.log2(self.tokenizer.spec.parts or (self.tokenizer.spec.size,)))
        for each in codes:
            self.usage.add(each.ids)
            self.bits += len(each) * float(per_position)

    @torch.no_grad()
    def _measure(self, made: Tensor, wanted: Tensor) -> None:
        made, wanted = made.to(self.device), wanted.to(self.device)
        self.count += len(made)
        self.size = list(made.shape[2:])
        self.sums["psnr"] += float(psnr(made, wanted).sum())
        self.sums["ssim"] += float(ssim(made, wanted).sum())
        self.sums["perceptual"] += len(made) * float(self.perceptual(made, wanted))
        self.features.append((self.space.features(made).cpu(), self.space.features(wanted).cpu()))

    def report(self) -> dict[str, Any]:
        """All figures."""
        mean = {name: total / self.count for name, total in self.sums.items()}
        made, wanted = (torch.cat(each) for each in zip(*self.features, strict=True))
        codes = {} if self.usage is None else self.usage.summary()
        # the first batch warms up, where others follow
        timed = self.times[1:] or self.times
        counted, encode, decode = (sum(each) for each in zip(*timed, strict=True))
        return {
            "count": self.count,
            "skipped": self.skipped,
            "pixels": self.size,
            "psnr": mean["psnr"],
            "ssim": mean["ssim"],
            "perceptual": {"name": str(self.perceptual.name), "value": mean["perceptual"]},
            "frechet": {
                "name": self.space.name,
                "value": frechet(made, wanted) if self.count > 1 else None,
                "floor": floor(wanted),
            },
            "usage": codes.get("usage"),
            "perplexity": codes.get("perplexity"),
            "bits_per_image": None if self.continuous else self.bits / self.count,
            "images_per_second": {"encode": counted / encode, "decode": counted / decode},
            **({"by_codes": self.prefixes.report()} if self.prefixes.lengths else {}),
        }


def is_continuous(tokenizer: Any) -> bool:
    """Whether a tokenizer has latents but no codes: then it has no `spec`."""
    try:
        return tokenizer.spec is None
    except (AttributeError, TypeError, ValueError):  # a system may say in words why it has none
        return True


def _usage(tokenizer: Any) -> Usage:
    quantizer = getattr(getattr(tokenizer, "net", None), "quantizer", None)
    return Usage(tokenizer.spec.size, tokenizer.spec.parts) if quantizer is None else Usage.of(quantizer)


def _opened(path: Path, skipped: list[dict[str, str]]) -> Iterator[tuple[str, Image.Image]]:
    """Name and picture of each file that can be read; the others are noted, and where reading broke off."""
    loose = path.is_dir() or (path.suffix == ".jsonl" and path.is_file())  # one bad file spoils no other
    try:
        for picture in entries(path) if loose else pictures(path):
            try:
                yield (
                    picture.key,
                    read_image(picture.data if isinstance(picture, Picture) else picture.read()),
                )
            except (ValueError, OSError) as error:
                skipped.append({"file": picture.key, "reason": str(error)})
    except (OSError, DamagedArchive) as error:
        skipped.append({"file": str(path), "reason": f"reading broke off: {error}"})


def _batches(found: Iterator[tuple[str, Image.Image]], size: int) -> Iterator[list[tuple[str, Image.Image]]]:
    chunk: list[tuple[str, Image.Image]] = []
    for each in found:
        chunk.append(each)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _pixels(image: Image.Image) -> Tensor:
    """A PIL image as float32 [3, H, W] in [0, 1]."""
    return rearrange(torch.from_numpy(np.array(image)), "h w c -> c h w").float() / 255
