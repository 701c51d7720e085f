"""Proxy codes: a decoder first learns to name another tokenizer's codes instead of painting pixels.

TiTok's first stage (Yu et al., arXiv:2406.07550, section 3.3) predicts the codes that a MaskGIT-VQGAN gives
the same picture: logits [B, N, h, w] against codes int64 [B, h, w].
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def proxy_cross_entropy(logits: Tensor, codes: Tensor) -> Tensor:
    """Mean cross-entropy in nats of logits [B, N, h, w] against codes int64 [B, h, w].

    Raises:
        ValueError: codes of another grid than the logits.
    """
    if logits.dim() != 4 or codes.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(
            f"codes {list(codes.shape)} do not lie on the grid of the logits {list(logits.shape)}: give one "
            "code [B, h, w] for each of the logits [B, N, h, w]"
        )
    return F.cross_entropy(logits, codes)
