"""How a tokenizer uses its codes: usage, perplexity, dead codes, and what a simple model pays per code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from .quantize import VQ, Quantizer


class Usage:
    """Counts codes and sums them up.

    Args:
        size: how many codes there are (with parts: their sum).
        parts: codes per position if there are several; figures are then means over the parts. For a VQ with
            one codebook per position its sizes, (256,) * K, so that every codebook is watched.
        window: look at this many of the latest codes of each part alone (GigaTok: 65536); 0 = at all.
    """

    def __init__(self, size: int, parts: Sequence[int] = (), window: int = 0) -> None:
        if window < 0:
            raise ValueError(f"a window of {window} codes: use at least 1, or 0 for all codes")
        self.parts = tuple(parts) or (size,)
        self.window = window
        self._recent = torch.zeros(0, len(self.parts), dtype=torch.long)  # the window's codes, oldest first
        self.counts = [torch.zeros(part, dtype=torch.long) for part in self.parts]

    @classmethod
    def of(cls, quantizer: Quantizer, window: int = 0) -> Usage:
        """Counters that fit a quantizer; where latents stay continuous they have nothing to count."""
        books = quantizer.books if isinstance(quantizer, VQ) else 1
        return cls(quantizer.size, quantizer.parts or (quantizer.size,) * books, window)

    def add(self, ids: Tensor | None) -> None:
        """Count codes int64 [..., K], or [..., K, P] with parts; None, of continuous latents, counts nothing."""
        if ids is None:
            return
        rows = ids.reshape(-1, len(self.parts)).cpu()
        if self.window:
            self._recent = torch.cat([self._recent, rows])[-self.window :].clone()
            rows = self._recent
            for count in self.counts:
                count.zero_()
        for count, column, part in zip(self.counts, rows.unbind(-1), self.parts, strict=True):
            count += torch.bincount(column, minlength=part)

    def gather(self) -> None:
        """Add up the counts of all ranks, in each of them."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            for count in self.counts:
                dist.all_reduce(count)

    def clear(self) -> None:
        """Forget all counts."""
        self._recent = self._recent[:0]
        for count in self.counts:
            count.zero_()

    def each(self) -> list[dict[str, float]]:
        """The figures of `summary` for every part alone."""
        return [_figures(count) for count in self.counts]

    def summary(self) -> dict[str, float]:
        """`usage` (share of codes seen), `dead` (never seen), `perplexity`, `entropy` (nats), `seen`.

        With parts `dead` and `seen` are sums and the others means, `usage` by size. Empty without codes.
        """
        size = sum(self.parts)
        if size == 0:
            return {}
        found = self.each()
        dead = sum(part["dead"] for part in found)
        return {
            "usage": (size - dead) / size,
            "dead": dead,
            "perplexity": sum(part["perplexity"] for part in found) / len(found),
            "entropy": sum(part["entropy"] for part in found) / len(found),
            "seen": sum(part["seen"] for part in found),
        }


def _figures(count: Tensor) -> dict[str, float]:
    """The figures of one part from how often each of its codes was seen, [size]."""
    used, entropy = int((count > 0).sum()), _entropy(count)
    return {
        "usage": used / max(len(count), 1),
        "dead": float(len(count) - used),
        "perplexity": math.exp(entropy),
        "entropy": entropy,
        "seen": float(count.sum()),
    }


def _entropy(count: Tensor) -> float:
    total = int(count.sum())
    if total == 0:
        return 0.0
    p = count[count > 0].double() / total
    return float(-(p * p.log()).sum())


def unigram_cross_entropy(train: Tensor, heldout: Tensor, size: int, smoothing: float = 1.0) -> float:
    """Nats per held-out code under the training codes' counts plus `smoothing`, one table for all positions.

    Args:
        train, heldout: int64 [n, K] and [m, K] codes below `size`.
    """
    count = torch.bincount(train.reshape(-1), minlength=size).double() + smoothing
    return float(-(count / count.sum()).log()[heldout.reshape(-1)].mean())


def position_cross_entropy(train: Tensor, heldout: Tensor, size: int, mix: float = 32.0) -> float:
    """Nats per held-out code under one table per position, each mixed with `mix` counts of the unigram.

    Plain per-position entropies of few items are far too low; this is the honest held-out figure.
    """
    unigram = torch.bincount(train.reshape(-1), minlength=size).double() + 1.0
    unigram /= unigram.sum()
    total = 0.0
    for k in range(heldout.shape[1]):
        count = torch.bincount(train[:, k], minlength=size).double() + mix * unigram
        total += float(-(count / count.sum()).log()[heldout[:, k]].sum())
    return total / heldout.numel()
