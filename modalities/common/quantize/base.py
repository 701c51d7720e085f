"""The signature that all quantizers share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Quantized(NamedTuple):
    """Quantised latents [B, K, D] with straight-through gradient, codes [B, K] or [B, K, P], and a loss."""

    z_q: Tensor
    ids: Tensor
    loss: Tensor


class Quantizer(nn.Module, ABC):
    """Base of all quantizers; see the module's first lines for the signature."""

    dim: int
    """Channels of a latent, the D of z [B, K, D]."""
    size: int
    """How many codes there are; with parts their sum."""
    parts: tuple[int, ...] = ()
    """Codes per position when there are several: ids[..., j] < parts[j]."""

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]."""

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes [B, K] or [B, K, P]."""

    @abstractmethod
    def margin(self, z: Tensor) -> Tensor:
        """How far each position of z [B, K, D] is from having another code: [B, K], at least 0."""

    def encode(self, z: Tensor) -> Tensor:
        """The codes of z [B, K, D], without gradient: [B, K] or [B, K, P]."""
        with torch.no_grad():
            return self.forward(z).ids

    def inverse(self, ids: Tensor) -> Tensor:
        """Some latents [B, K, D] that have these codes."""
        return self.lookup(ids)

    @property
    def bits(self) -> float:
        """Bits that one position can carry."""
        return sum(math.log2(part) for part in self.parts or (self.size,))
