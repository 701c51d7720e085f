"""Quantizers: continuous latents to codes and back, behind one signature.

    forward(z [B, K, inputs]) -> Quantized(z_q [B, K, D], ids, losses)     lookup(ids) -> z_q [B, K, D]

`ids` are int64 [B, K], or [B, K, P] when a position carries several codes (`parts`), or None where latents
stay continuous (`KL`). `size` counts all codes (with parts: their sum), as `unitok.modality.Spec` does.
`losses` are named and already weighted; `z_q` passes gradients. `margin(z)` says how far each position is
from another code, so that a caller can recompute close calls in one fixed way. For every legal id
`encode(inverse(ids)) == ids`.

`FSQ` is the finite scalar, `VQ` the vector, `Binary` the bitwise quantizer; `KL` keeps a Gaussian latent.
"""

from __future__ import annotations

from .base import Quantized, Quantizer
from .binary import Binary
from .fsq import FSQ
from .kl import KL
from .vq import VQ

__all__ = ["FSQ", "KL", "VQ", "Binary", "Quantized", "Quantizer"]
