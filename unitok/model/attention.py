"""Attention for packed rows: a token sees the earlier tokens of its own document, and nothing else.

    where = Where(doc)                       # once per forward
    out = attend(q, k, v, where)             # [B, H, T, d], once per layer

Pads (doc -1) attend to earlier pads, so that no row of the mask is empty. Two back ends give the same
numbers: `sdpa`, `torch.nn.functional.scaled_dot_product_attention` with a boolean mask [B, 1, T, T], works
anywhere; `flex` (Dong et al., "Flex Attention", 2024) skips the empty blocks and needs CUDA to train.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from unitok.model.config import Backend


class Where:
    """Who may look at whom in a batch of rows; the masks are built once and shared by all layers.

    Args:
        doc: int [B, T], the document of each position, -1 for pads; equal numbers stand together.
        backend: "sdpa" or "flex".
        mask: bool [B, 1, T, S] to use instead (True = look), as a key/value cache gives it.
    """

    def __init__(self, doc: Tensor, backend: Backend = "sdpa", mask: Tensor | None = None) -> None:
        self.doc = doc
        self.backend: Backend = "sdpa" if mask is not None else backend
        self._mask = mask
        self._bias: Tensor | None = None

    @cached_property
    def mask(self) -> Tensor:
        """Bool [B, 1, T, S], True where a query (row) may look at a key (column)."""
        if self._mask is not None:
            return self._mask
        length = self.doc.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=self.doc.device).tril()
        same = self.doc[:, None, :, None] == self.doc[:, None, None, :]  # [B, 1, T, T]
        return same & causal

    def bias(self, dtype: torch.dtype) -> Tensor:
        """The mask to add to scores, 0 or -inf; each layer would make it anew from the boolean one."""
        if self._bias is None or self._bias.dtype != dtype:
            self._bias = torch.zeros_like(self.mask, dtype=dtype).masked_fill_(~self.mask, -torch.inf)
        return self._bias

    @cached_property
    def blocks(self) -> BlockMask:
        """The same as a Flex block mask."""
        doc = self.doc
        batch, length = doc.shape

        def look(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (doc[b, query] == doc[b, key]) & (query >= key)

        return create_block_mask(look, batch, None, length, length, device=str(doc.device))


def attend(q: Tensor, k: Tensor, v: Tensor, where: Where) -> Tensor:
    """Attention within documents.

    Args:
        q: [B, H, T, d], rotated and scaled by nothing (the usual d^-1/2 is applied here).
        k: [B, G, S, d], G key/value heads, each shared by H / G query heads.
        v: [B, G, S, d].
        where: the mask of this forward.

    Returns:
        [B, H, T, d].
    """
    grouped = q.shape[1] != k.shape[1]
    if where.backend == "flex":
        flex = _compiled_flex() if q.is_cuda else flex_attention
        out: Tensor = flex(q, k, v, block_mask=where.blocks, enable_gqa=grouped)
        return out
    return F.scaled_dot_product_attention(q, k, v, attn_mask=where.bias(q.dtype), enable_gqa=grouped)


@cache
def _compiled_flex() -> Any:
    """Compiled on the first use on CUDA; uncompiled Flex would build the whole score matrix."""
    return torch.compile(flex_attention, dynamic=False)
