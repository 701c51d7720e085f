"""Attention of all transformers in `modalities/`: one module for self-attention, one for cross-attention.

    Attention(width, heads)(x [B, T, W], place=…, turn=…, mask=…) -> [B, T, W]
    CrossAttention(width, heads)(x [B, T, W], memory [B, M, V]) -> [B, T, W]

What papers add is an option of the call: `place` is a position embedding added to queries and keys alone
(DETR, Carion et al., arXiv:2005.12872), `turn` rotates queries and keys (see `positions.Turn`), `mask` is
True where attention is allowed, or floats that are added to the logits (log n for a key that stands for n equal
ones), `cache` keeps keys and values of earlier positions. The rows of `qkv.weight` are queries, keys, values, as in
`nn.MultiheadAttention.in_proj_weight`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["layer", "rms", "std"]
TurnHeads = Callable[[Tensor], Tensor]
"""Heads [B, H, T, d] -> the same, rotated by their positions."""


class Cache:
    """Keys and values of the positions so far, for one layer: each call adds the new ones and gives back all.

    Room for `length` positions is taken at the first call, so that a step copies only what is new.
    """

    def __init__(self, length: int) -> None:
        self.length, self.count = length, 0
        self.kept: tuple[Tensor, Tensor] | None = None

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k, v [B, H, t, d] of new positions -> those of all positions so far."""
        if self.kept is None:
            shape = (*k.shape[:2], self.length, k.shape[3])
            self.kept = k.new_empty(shape), v.new_empty(shape)
        end = self.count + k.shape[2]
        if end > self.length:
            raise ValueError(f"{end} positions in a cache for {self.length}: make it longer")
        for kept, new in zip(self.kept, (k, v), strict=True):
            kept[:, :, self.count : end] = new
        self.count = end
        keys, values = self.kept
        return keys[:, :, :end], values[:, :, :end]


class Shared(Cache):
    """Keys and values of a first call, which every later one sees before its own: what has been read is read once.

    Later calls do not see each other. Gradients reach the first call, which `Cache` does not allow.
    """

    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k, v [B, H, t, d] -> the same in the first call, then [B, H, first + t, d]."""
        if self.kept is None:
            self.kept, self.count = (k, v), k.shape[2]
            return k, v
        keys, values = self.kept
        return torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)


class StdNorm(nn.Module):
    """LayerNorm as FlowTok's text projector has it: over the unbiased standard deviation plus eps."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = (
            nn.Parameter(torch.ones(width)),
            nn.Parameter(torch.zeros(width)),
            eps,
        )

    def forward(self, x: Tensor) -> Tensor:
        """x [..., W] -> [..., W]."""
        centred = x - x.mean(-1, keepdim=True)
        return self.weight * centred / (x.std(-1, keepdim=True) + self.eps) + self.bias


def norm(kind: Norm, width: int, eps: float, affine: bool = True) -> nn.Module:
    """A norm over the last axis; "std" always has scales and shifts."""
    if kind == "rms":
        return nn.RMSNorm(width, eps=eps, elementwise_affine=affine)
    if kind == "std":
        return StdNorm(width, eps)
    return nn.LayerNorm(width, eps=eps, elementwise_affine=affine)


class _Heads(nn.Module):
    """What the two kinds share: number and size of the heads, norms of queries and keys, the way out."""

    def __init__(
        self,
        width: int,
        heads: int,
        bias: bool,
        out_bias: bool,
        qk_norm: Norm | None,
        qk_affine: bool,
        eps: float,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads, self.bias = heads, bias
        self.out = nn.Linear(width, width, bias=out_bias)
        self.q_norm: nn.Module = nn.Identity()
        self.k_norm: nn.Module = nn.Identity()
        if qk_norm is not None:
            self.q_norm = norm(qk_norm, width // heads, eps, qk_affine)
            self.k_norm = norm(qk_norm, width // heads, eps, qk_affine)

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        turn: TurnHeads | None,
        mask: Tensor | None,
        cache: Cache | None = None,
        read: slice | None = None,
    ) -> Tensor:
        q, k, v = (rearrange(x, "b t (h d) -> b h t d", h=self.heads) for x in (q, k, v))
        q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None:
            q, k = turn(q), turn(k)
        if read is not None:
            q = q[:, :, read]
        if cache is not None:
            k, v = cache(k, v)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out(rearrange(seen, "b h t d -> b t (h d)"))
        return out


class Attention(_Heads):
    """Multi-head self-attention.

    Args:
        width: W, of x.
        heads: divides width.
        bias: of queries, keys and values.
        out_bias: of the output.
        qk_norm: norm of each head's queries and keys, over the head's channels.
        qk_affine: whether that norm has learned scales.
        eps: of that norm.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        bias: bool = True,
        out_bias: bool = True,
        qk_norm: Norm | None = None,
        qk_affine: bool = True,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(width, heads, bias, out_bias, qk_norm, qk_affine, eps)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)

    def forward(
        self,
        x: Tensor,
        *,
        place: Tensor | None = None,
        turn: TurnHeads | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        read: slice | None = None,
    ) -> Tensor:
        """x [B, T, W] -> [B, T, W]; place [T, W] or [B, T, W]; mask [T, T] or [B, 1, T, T], True where
        allowed, or floats to add.

        With `read` only the tokens of that slice ask: [B, read, W], the mask [read, T].
        """
        if place is None:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        else:
            edge = 2 * x.shape[-1]  # rows of queries and keys
            weight, bias = self.qkv.weight, self.qkv.bias
            q, k = F.linear(x + place, weight[:edge], bias[:edge] if self.bias else None).chunk(2, dim=-1)
            v = F.linear(x, weight[edge:], bias[edge:] if self.bias else None)
        return self._attend(q, k, v, turn, mask, cache, read)


class CrossAttention(_Heads):
    """Multi-head attention from x to a memory of another length and, if need be, another width.

    Args:
        width: W, of x and of the output.
        heads: divides width.
        memory_width: V, of the memory; W if not given.
        bias, out_bias, qk_norm, qk_affine, eps: as in `Attention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        memory_width: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
        qk_norm: Norm | None = None,
        qk_affine: bool = True,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(width, heads, bias, out_bias, qk_norm, qk_affine, eps)
        self.q = nn.Linear(width, width, bias=bias)
        self.kv = nn.Linear(memory_width or width, 2 * width, bias=bias)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        place: Tensor | None = None,
        memory_place: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, W], memory [B, M, V] -> [B, T, W]; places are added to queries and to keys; mask [T, M]."""
        q = self.q(x if place is None else x + place)
        if memory_place is None:
            k, v = self.kv(memory).chunk(2, dim=-1)
        else:
            width = x.shape[-1]
            weight, bias = self.kv.weight, self.kv.bias
            k = F.linear(memory + memory_place, weight[:width], bias[:width] if self.bias else None)
            v = F.linear(memory, weight[width:], bias[width:] if self.bias else None)
        return self._attend(q, k, v, None, mask)
