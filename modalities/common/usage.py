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
    """

    def __init__(self, size: int, parts: Sequence[int] = ()) -> None:
        self.parts = tuple(parts) or (size,)
        self.counts = [torch.zeros(part, dtype=torch.long) for part in self.parts]

    @classmethod
    def of(cls, quantizer: Quantizer) -> Usage:
        """Counters that fit a quantizer."""
        books = quantizer.books if isinstance(quantizer, VQ) else 1
        return cls(quantizer.size, quantizer.parts or (quantizer.size,) * books)

    def add(self, ids: Tensor) -> None:
        """Count codes int64 [..., K], or [..., K, P] with parts."""
        columns = ids.reshape(-1, len(self.parts)).unbind(-1) if len(self.parts) > 1 else (ids.reshape(-1),)
        for count, column, part in zip(self.counts, columns, self.parts, strict=True):
            count += torch.bincount(column.cpu(), minlength=part)

    def gather(self) -> None:
        """Add up the counts of all ranks, in each of them."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            for count in self.counts:
                dist.all_reduce(count)

    def clear(self) -> None:
        """Forget all counts."""
        for count in self.counts:
            count.zero_()

    def summary(self) -> dict[str, float]:
        """`usage` (share of codes seen), `dead` (never seen), `perplexity`, `entropy` (nats), `seen`."""
        entropies = [_entropy(count) for count in self.counts]
        used = sum(int((count > 0).sum()) for count in self.counts)
        entropy = sum(entropies) / len(entropies)
        return {
            "usage": used / sum(self.parts),
            "dead": float(sum(self.parts) - used),
            "perplexity": sum(math.exp(each) for each in entropies) / len(entropies),
            "entropy": entropy,
            "seen": float(sum(int(count.sum()) for count in self.counts)),
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
