"""Batches of a `TokenizerTask`: which items a step takes is a pure function of (seed, step).

    for items, step in Items(task, rows=16, seed=0, rank=0, world=2): ...     # items [8, ...]

The items of a step are dealt out to the ranks, and each rank changes its own at random; so nothing but the
step has to be kept to go on, and any number of ranks sees the same items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .training import TokenizerTask


class Items:
    """This rank's batches without end: the feed of `unitok.train.Trainer`.

    Args:
        task: whose items.
        rows: items of a step, over all ranks.
        seed: of the order and of the random changes.
        rank: which share.
        world: how many shares.
    """

    def __init__(self, task: TokenizerTask, rows: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.task, self.rows, self.seed = task, rows, seed
        self.rank, self.world = rank, world
        self.step = 0

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """(items [B, ...], what goes with them, number of the step) from where the feed stands; one a step."""
        while True:
            step = self.step
            mine = indices(len(self.task.train), self.rows, step, self.seed)[self.rank :: self.world]
            drawn = self.task.batch(mine, torch.Generator().manual_seed(mix(self.seed, step, self.rank + 1)))
            self.step += 1
            yield *(drawn if isinstance(drawn, tuple) else (drawn,)), torch.tensor(step)

    def weight_sum(self, batches: int) -> float:
        """How many items the next `batches` batches hold, over all ranks."""
        return float(self.rows * batches)

    def state(self) -> dict[str, Any]:
        """The step, and what its items depend on."""
        return {"step": self.step, "items": len(self.task.train), "rows": self.rows, "seed": self.seed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: it is of other data, another batch or another seed.
        """
        mine = self.state()
        for key in ("items", "rows", "seed"):
            if state[key] != mine[key]:
                raise ValueError(
                    f"the checkpoint was trained with {key} = {state[key]}, this run has {mine[key]}: keep the "
                    "[data] table, train.batch and train.seed, or use another folder for the run"
                )
        self.step = int(state["step"])


def indices(count: int, rows: int, step: int, seed: int) -> Tensor:
    """The items [rows] of a step: walks through a fresh shuffle of all items in each epoch."""
    places = range(step * rows, (step + 1) * rows)
    orders: dict[int, Tensor] = {}
    for epoch in {place // count for place in places}:
        orders[epoch] = torch.randperm(count, generator=torch.Generator().manual_seed(mix(seed, epoch, 7)))
    return torch.stack([orders[place // count][place % count] for place in places])


def mix(*numbers: int) -> int:
    """One seed from several numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
