"""The depth head: the further parts of a stacked position, one after another, from one hidden state.

    logits of part j = head_j(transformer([h + e(part 0), h + e(part 1), ... h + e(part j - 1)]))

Part 0 is chosen by the decoder's own head. For part j a small transformer of the decoder's layers runs over the
parts before it, each added to the hidden state that predicts the position (the "depth transformer" of Lee et al.,
arXiv:2203.01941, and Défossez et al., arXiv:2410.00037), and scores the range of part j alone. Positions do not
see one another here: what is known of earlier ones is in the hidden state.

All of it always runs, on no position at all too: under ZeRO-3 a module that ran on some ranks only would hang.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unitok.model.attention import Where
from unitok.model.config import ModelConfig
from unitok.model.layer import Layer, rotary


class Slot(NamedTuple):
    """One further part of one block: the shared ids `[start, stop)` in column `column` of `more`."""

    name: str
    column: int
    start: int
    stop: int


def slots(stacks: Mapping[str, Sequence[tuple[int, int]]]) -> list[Slot]:
    """All further parts of all stacked blocks."""
    return [
        Slot(f"{name}_{column + 1}", column, start, stop)
        for name, ranges in stacks.items()
        for column, (start, stop) in enumerate(ranges)
    ]


class DepthHead(nn.Module):
    """Scores further parts; see the module's text. Vectors of parts are the decoder's token embeddings."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = replace(config, layers=config.depth_layers, backend="sdpa", stacks={})
        self.slots = slots(config.stacks)
        self.entry = nn.Linear(config.width, config.width, bias=False)
        self.layers = nn.ModuleList(Layer(self.config) for _ in range(self.config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        heads = {
            slot.name: nn.Linear(config.width, slot.stop - slot.start, bias=False) for slot in self.slots
        }
        self.lm_heads = nn.ModuleDict(heads)  # the name keeps DeepSpeed's Muon away, as from `lm_head`

    def forward(self, hidden: Tensor, vectors: Tensor) -> Tensor:
        """States after each part.

        Args:
            hidden: [m, D], each predicts one position.
            vectors: [m, j, D], embeddings of the position's first j parts.

        Returns:
            [m, j, D]; state i knows the parts up to i and scores part i + 1.
        """
        x = rearrange(self.entry(hidden), "m d -> m 1 d") + vectors
        steps = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        turn = rotary(steps, self.config.head_dim, self.config.rope_theta, x.dtype)
        # One mask for all positions: they are alike.
        where = Where(torch.zeros(1, x.shape[1], dtype=torch.int64, device=x.device))
        for number, layer in enumerate(self.layers):
            x = layer(x, turn, where, None, number)
        return cast("Tensor", self.norm(x))

    def nats(self, hidden: Tensor, vectors: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
        """What further parts cost.

        Args:
            hidden: [m, D].
            vectors: [m, P, D], embeddings of all parts, 0 where there is none; the last one is not looked at.
            more: int64 [m, P - 1], the further parts, -1 absent.

        Returns:
            nats and log-partitions, float32 [m, P - 1], 0 where there is no part.
        """
        stacked = (more[:, 0] >= 0).nonzero().squeeze(1)
        states = self(hidden[stacked], vectors[stacked, :-1])
        more_here = more[stacked]
        nats = hidden.new_zeros(more.shape, dtype=torch.float32)
        partition = torch.zeros_like(nats)
        for slot in self.slots:
            part = more_here[:, slot.column]
            mine = ((part >= slot.start) & (part < slot.stop)).nonzero().squeeze(1)
            logits = self.lm_heads[slot.name](states[mine, slot.column]).float()
            target = part[mine] - slot.start
            loss = F.cross_entropy(logits, target, reduction="none")
            at = (stacked[mine], torch.full_like(mine, slot.column))
            nats = nats.index_put(at, loss)
            partition = partition.index_put(at, logits.gather(1, target[:, None]).squeeze(1) + loss)
        return nats, partition

    def logits(self, block: str, hidden: Tensor, vectors: Tensor) -> Tensor:
        """Raw logits, float32, of the next part of positions of one block.

        Args:
            block: its name.
            hidden: [..., D].
            vectors: [..., j, D], embeddings of the j parts that are known.
        """
        leading = hidden.shape[:-1]
        states = self(hidden.flatten(0, -2), vectors.flatten(0, -3))
        head = self.lm_heads[f"{block}_{vectors.shape[-2]}"]
        return cast("Tensor", head(states[:, -1]).float().unflatten(0, leading))
