"""A preallocated key-value cache for a batch of rows with prompts of different lengths.

Rows are padded on the left, so that all of them write to the same slot and a step's keys are one slice:
a slot's number is not a position, and keys arrive already rotated by their own positions. A row's first
`pad` slots are seen by nobody else (a pad sees itself, since a row of a mask without any True gives NaN).
A row that is finished leaves its place to the last one of the batch, which copies one row and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Cache:
    """Keys and values of all layers; the live part of a buffer is [rows, heads, length, dim].

    Args:
        layers: layers of the decoder; each appends once per forward, in order.
        heads: key-value heads.
        dim: width of a head.
        pad: left padding of every row, in slots.
        capacity: slots per row: the padded prompt and all that will be generated.
        dtype, device: of keys and values; those of the decoder.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        dim: int,
        pad: Sequence[int],
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.layers = layers
        self.capacity = capacity
        self.length = 0
        self.rows = len(pad)
        shape = (layers, self.rows, heads, capacity, dim)
        self._keys = torch.zeros(shape, dtype=dtype, device=device)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        slots = torch.arange(capacity, device=device)
        start = torch.tensor(pad, device=device)
        self._real = (slots >= start[:, None])[:, None, None, :]  # [B, 1, 1, capacity]

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's keys and values [B, H, t, d] of t new slots; all so far come back, [B, H, S, d].

        The cache's length moves on with the last layer, which ends the forward.

        Raises:
            ValueError: more rows or more slots than were reserved.
        """
        stop = self.length + k.shape[2]
        if stop > self.capacity or k.shape[0] != self.rows:
            raise ValueError(
                f"keys of {k.shape[0]} rows up to slot {stop} do not fit a cache of {self.rows} rows and "
                f"{self.capacity} slots: reserve the prompt and the whole budget"
            )
        keys, values = self._keys[layer, : self.rows], self._values[layer, : self.rows]
        keys[:, :, self.length : stop] = k
        values[:, :, self.length : stop] = v
        if layer == self.layers - 1:
            self.length = stop
        return keys[:, :, :stop], values[:, :, :stop]

    def mask(self, t: int) -> Tensor:
        """Who sees whom while t slots are added: bool [B, 1, t, S], True = sees. Ask before the first append."""
        stop = self.length + t
        real = self._real[: self.rows, ..., :stop]
        if t == 1:
            return real
        slots = torch.arange(stop, device=real.device)
        new = slots[self.length :, None]
        return (real & (slots <= new)) | (slots == new)

    def keep(self, order: Sequence[int]) -> None:
        """Go on with the rows `order` alone, in that order; rows that stay in place are not copied."""
        moved = [(to, at) for to, at in enumerate(order) if to != at]
        if moved:
            to, at = (list(places) for places in zip(*moved, strict=True))
            # Indexing with a list copies first, so rows may overlap.
            self._keys[:, to, :, : self.length] = self._keys[:, at, :, : self.length]
            self._values[:, to, :, : self.length] = self._values[:, at, :, : self.length]
            self._real[to] = self._real[at]
        self.rows = len(order)
