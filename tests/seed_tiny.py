"""SEED at a tiny size, as a `[model]` table."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "size": 16,
    "tokens": 5,
    "resize": "cover",
    "vision": {"patch": 4, "width": 16, "layers": 1, "heads": 2, "hidden": 32},
    "width": 16,
    "layers": 3,
    "heads": 2,
    "hidden": 32,
    "quantizer": {"kind": "vq", "codes": 24, "dim": 4},
    "depth": 1,
    "down": (8, 8, 4),
    "embedding": 8,
    "contrast": 8,
    "captions": {"buckets": 64, "words": 6, "width": 16, "layers": 1, "heads": 2},
    "painter": {"patch": 4, "body": {"width": 16, "layers": 1, "heads": 2}},
}
