"""Released models without their weights: key listings, tensors filled by a hash, summaries to compare with.

`fill(key, shape)` gives every tensor of a state dict the same numbers on every machine, so that outputs of
the official modules, noted once, can be compared with ours without a download.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

KEYS = Path(__file__).parents[2] / "shared" / "data" / "image" / "keys"
NOT_SHARED = "the key listings and outputs of released models are not beside this checkout"


def need() -> Path:
    """The folder of listings; the test is skipped where there is none."""
    if not KEYS.is_dir():
        pytest.skip(NOT_SHARED)
    return KEYS


def listing(name: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a released state dict, by key."""
    shapes = {}
    for line in (need() / f"{name}.tsv").read_text().splitlines():
        key, shape = line.split("\t")[:2]
        shapes[key] = tuple(int(n) for n in shape.strip("()[] ").split(",") if n.strip())
    return shapes


def golden(name: str) -> dict[str, Any]:
    """Noted outputs of an official module."""
    found: dict[str, Any] = json.loads((need() / f"golden_{name}.json").read_text())
    return found


def numbers(key: str, shape: tuple[int, ...]) -> Tensor:
    """Uniform numbers in [0, 1), float64, a function of the key and the place alone (a splitmix hash)."""
    count = math.prod(shape)
    with np.errstate(over="ignore"):
        x = (
            np.arange(1, count + 1, dtype=np.uint64) + np.uint64(zlib.crc32(key.encode()) << 32)
        ) * np.uint64(0x9E3779B97F4A7C15)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return torch.from_numpy((x >> np.uint64(40)).astype(np.float64) / 2.0**24).reshape(shape)


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of a key, float32, scaled as its kind asks for."""
    u = numbers(key, shape)
    if len(shape) <= 1:
        if key.endswith(".weight"):
            return (1 + 0.2 * (u - 0.5)).float()
        if "codebook_used" in key or "embed_prob" in key:
            return torch.zeros(shape)
        return (0.2 * (u - 0.5)).float()
    table = "embedding.weight" in key or "embeddings.weight" in key
    if key.endswith((".weight", "in_proj_weight")) and not table:
        return ((u - 0.5) * math.sqrt(12 / math.prod(shape[1:]))).float()
    return (2 * (u - 0.5)).float()


def filled(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A whole state dict."""
    return {key: fill(key, shape) for key, shape in shapes.items()}


def agrees(found: Tensor, noted: Mapping[str, Any], rtol: float = 1e-4) -> None:
    """Whether a tensor has the shape, the mean, the spread and the seven noted values of a summary."""
    assert list(found.shape) == noted["shape"]
    flat = found.detach().double().reshape(-1)
    scale = noted["std"]
    assert float(flat.mean()) == pytest.approx(noted["mean"], rel=rtol, abs=rtol * scale)
    assert float(flat.std()) == pytest.approx(noted["std"], rel=rtol)
    assert float(flat.abs().max()) == pytest.approx(noted["absmax"], rel=rtol)
    assert flat[noted["idx"]].tolist() == pytest.approx(noted["vals"], rel=rtol, abs=rtol * scale)
