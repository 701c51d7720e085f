"""Ranks without ceremony: every function also works in a single process that no launcher started."""

from __future__ import annotations

import os

import torch.distributed as dist
from torch import Tensor


def _running() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _running() else int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _running() else int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """True in the one process that prints and writes."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if _running() and dist.get_world_size() > 1:
        dist.barrier()


def reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in each of them; the argument stays as it is."""
    total = tensor.clone()
    if _running() and dist.get_world_size() > 1:
        dist.all_reduce(total)
    return total
