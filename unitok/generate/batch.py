"""Rows that are decoded together: prefill, one step at a time, and dropping the rows that are done.

With guidance every row has its null row right behind it (lane 2i and 2i + 1); both are fed the row's id.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from unitok.document import Rendered
from unitok.generate.cache import Cache
from unitok.model.decoder import Decoder
from unitok.model.embed import absent


class Batch:
    """Lanes of a decoder with one cache.

    Args:
        decoder: the model.
        prompts: one group per row, [prompt] or [prompt, null prompt]; all groups of one size.
        budget: how many positions a row may still get.
        pad: the id that fills up short prompts.
    """

    def __init__(
        self, decoder: Decoder, prompts: Sequence[Sequence[Rendered]], budget: int, pad: int
    ) -> None:
        self._decoder = decoder
        self._device = decoder.lm_head.weight.device
        self._lanes = len(prompts[0])
        flat = [prompt for group in prompts for prompt in group]
        length = max(len(prompt.ids) for prompt in flat)
        pads = [length - len(prompt.ids) for prompt in flat]
        config = decoder.config
        self._cache = Cache(
            config.layers,
            config.kv_heads,
            config.head_dim,
            pads,
            capacity=length + budget,
            dtype=decoder.lm_head.weight.dtype,
            device=self._device,
        )
        tokens = torch.full((len(flat), length), pad)
        for row, prompt in enumerate(flat):
            tokens[row, pads[row] :] = prompt.ids
        start = torch.tensor(pads)[:, None]
        pos = (torch.arange(length) - start).clamp(min=0)  # [lanes, L]
        side = self._side(flat, pads, tokens)
        more = self._more(flat, pads, tokens)
        self._pos = pos[:, -1:].to(self._device)
        self._hidden = self._forward(tokens.to(self._device), pos.to(self._device), side, more)

    def _side(self, prompts: Sequence[Rendered], pads: Sequence[int], tokens: Tensor) -> dict[str, Tensor]:
        """Companions of the prompts, dense [lanes, L, width]; channels that no prompt has are left out."""
        side: dict[str, Tensor] = {}
        for row, prompt in enumerate(prompts):
            for name, (at, values) in prompt.side.items():
                if name not in side:
                    side[name] = absent(self._decoder.config.channels[name], tokens)
                side[name][row, at + pads[row]] = values.to(side[name].dtype)
        return {name: dense.to(self._device) for name, dense in side.items()}

    def _more(self, prompts: Sequence[Rendered], pads: Sequence[int], tokens: Tensor) -> Tensor | None:
        """Further parts of the prompts, [lanes, L, P - 1]."""
        if not self._decoder.config.more:
            return None
        more = torch.full((*tokens.shape, self._decoder.config.more), -1)
        for row, prompt in enumerate(prompts):
            if prompt.more is not None:
                more[row, pads[row] :] = prompt.more
        return more.to(self._device)

    def _forward(
        self, tokens: Tensor, pos: Tensor, side: dict[str, Tensor], more: Tensor | None = None
    ) -> Tensor:
        # One document per row: the cache's mask says who sees whom, so doc is not looked at.
        hidden: Tensor = self._decoder(tokens, tokens, pos, side, self._cache, more)
        return hidden[:, -1]

    def logits(self) -> Tensor:
        """Raw logits of the next id, float32 [B, lanes per row, V]."""
        return rearrange(self._decoder.logits(self._hidden).float(), "(b n) v -> b n v", n=self._lanes)

    def part_logits(self, block: str, rows: Sequence[int], parts: Tensor) -> Tensor:
        """Raw logits of the next part of the position that comes, float32 [R, lanes per row, n].

        Args:
            block: a stacked one, in which all of the rows are.
            rows: R of the rows.
            parts: int64 [R, j], the shared ids of the position's first j parts.
        """
        hidden = rearrange(self._hidden, "(b n) d -> b n d", n=self._lanes)[rows]  # [R, lanes, D]
        vectors = self._decoder.model.vectors(parts)[:, None].expand(-1, self._lanes, -1, -1)
        assert self._decoder.depth is not None
        return self._decoder.depth.logits(block, hidden, vectors)

    def step(self, ids: Tensor, more: Tensor | None = None) -> None:
        """Feed every row its id, int64 [B], and what further parts it has, [B, P - 1]."""
        if self._lanes > 1:
            ids = ids.repeat_interleave(self._lanes)
            more = None if more is None else more.repeat_interleave(self._lanes, dim=0)
        self._pos = self._pos + 1
        self._hidden = self._forward(ids[:, None], self._pos, {}, None if more is None else more[:, None])

    def keep(self, order: Sequence[int]) -> None:
        """Go on with the rows `order` alone, in that order."""
        lanes = [row * self._lanes + lane for row in order for lane in range(self._lanes)]
        self._cache.keep(lanes)
        self._pos = self._pos[lanes]


def survivors(done: Sequence[bool]) -> list[int]:
    """The rows that are not done, in an order that moves as few as possible: the last ones fill the gaps."""
    live = len(done) - sum(done)
    spare = [row for row in range(live, len(done)) if not done[row]]
    return [spare.pop() if done[row] else row for row in range(live)]
