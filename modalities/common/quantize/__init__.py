"""Quantizers: continuous latents to codes and back, behind one signature.

    forward(z [B, K, D]) -> Quantized(z_q [B, K, D], ids, loss)     lookup(ids) -> z_q [B, K, D]

`ids` are int64 [B, K], or [B, K, P] when a position carries several codes (`parts`). `size` counts all
codes (with parts: their sum), as `unitok.modality.Spec` does. `z_q` passes gradients straight through.
`margin(z)` says how far each position is from another code, so that a caller can recompute close calls
in one fixed way. For every legal id `encode(inverse(ids)) == ids`.

`FSQ` is the finite scalar, `VQ` the vector, `Binary` the bitwise quantizer.
"""

from __future__ import annotations

from collections.abc import Sequence

from .base import Quantized, Quantizer
from .binary import Binary
from .fsq import FSQ
from .vq import VQ

__all__ = ["FSQ", "VQ", "Binary", "Quantized", "Quantizer", "build_quantizer"]


def build_quantizer(
    kind: str,
    *,
    levels: Sequence[int] | Sequence[Sequence[int]] = (8, 6, 5),
    size: int = 1024,
    dim: int = 8,
    books: int = 1,
    l2: bool = False,
    decay: float = 0.99,
    rate: float = 0.0,
    bits: int = 8,
) -> Quantizer:
    """A quantizer by name: "fsq" (takes levels), "vq" (size to rate) or "binary" (bits)."""
    if kind == "fsq":
        return FSQ(levels)
    if kind == "vq":
        return VQ(size, dim, books=books, l2=l2, decay=decay, rate=rate)
    if kind == "binary":
        return Binary(bits)
    raise ValueError(f"no quantizer is called {kind!r}: use 'fsq', 'vq' or 'binary'")
