"""What the first codes of pictures are worth: fidelity by number of codes, with standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unitok.budget import longest
from unitok.modality import Codes, nested_lengths

from .fidelity import psnr, ssim
from .io import to_image


class Prefixes:
    """Adds up over batches of coded pictures.

    Args:
        tokenizer: an image modality with nested codes, if there are any budgets.
        budgets: most codes of a picture; each becomes the longest allowed length.

    Raises:
        ValueError: codes that cannot be cut, a budget that holds no picture, or one above the tokenizer's own.
    """

    def __init__(self, tokenizer: Any, budgets: Sequence[int] = ()) -> None:
        self.tokenizer, self.lengths = tokenizer, []
        if budgets:
            nested = nested_lengths(tokenizer.spec.name, {tokenizer.spec.name: tokenizer})
            self.lengths = sorted({longest(nested, budget) for budget in budgets})
            if (given := getattr(tokenizer, "budget", nested[-1])) < self.lengths[-1]:
                raise ValueError(
                    f"{self.lengths[-1]} codes are to be judged, but the tokenizer gives {given}: raise its budget, or "
                    "leave that out"
                )
        self.degrades = hasattr(tokenizer, "degraded")
        measures = ("psnr", "ssim", *(["psnr_degraded"] if self.degrades else []))
        self.found: dict[int, dict[str, list[Tensor]]] = {n: {m: [] for m in measures} for n in self.lengths}

    def add(self, codes: Sequence[Codes], wanted: Tensor, show: int = 0) -> list[tuple[Image.Image, ...]]:
        """Judge the first codes of pictures against wanted [B, 3, H, W] in [0, 1].

        Smaller pictures that few codes make are enlarged (bicubic) first. Where the tokenizer says what its first codes
        are to show (`degraded(pictures, count)`), "psnr_degraded" compares them with that, at their own size.

        Returns:
            the pictures from each number of codes, of the first `show` of them; of the others none.
        """
        made: list[list[Image.Image]] = [[] for _ in range(len(wanted))]
        for length in self.lengths:
            short = [self.tokenizer.shorten(each, length) for each in codes]
            pictures = self.tokenizer.decode_tensor(short).cpu().float()
            if self.degrades:
                own = self.tokenizer.degraded(wanted, length).clamp(0, 1)
                self.found[length]["psnr_degraded"].append(psnr(pictures.clamp(0, 1), own))
            if pictures.shape[2:] != wanted.shape[2:]:
                pictures = F.interpolate(pictures, size=wanted.shape[2:], mode="bicubic", antialias=True)
            pictures = (pictures.clamp(0, 1) * 255).round() / 255
            self.found[length]["psnr"].append(psnr(pictures, wanted))
            self.found[length]["ssim"].append(ssim(pictures, wanted))
            for row, picture in zip(made[: max(0, show)], pictures, strict=False):
                row.append(to_image(picture))
        return [tuple(row) for row in made]

    def report(self) -> dict[str, dict[str, float]]:
        """By number of codes: means over pictures, and the standard error of the mean of each."""
        out = {}
        for length, measures in self.found.items():
            line = {}
            for name, parts in measures.items():
                each = torch.cat(parts).double()
                line[name] = float(each.mean())
                line[f"{name}_error"] = float(each.std() / len(each) ** 0.5) if len(each) > 1 else 0.0
            out[str(length)] = line
        return out
