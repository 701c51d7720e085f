"""The signature that all quantizers share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Quantized(NamedTuple):
    """What a quantizer makes of latents.

    z_q: [B, K, D], with the gradient that the quantizer lets through; ids: int64 [B, K] or [B, K, P], None
    where latents stay continuous; losses: by name, weighted, each a scalar.
    """

    z_q: Tensor
    ids: Tensor | None
    losses: dict[str, Tensor]

    @property
    def loss(self) -> Tensor:
        """The sum of the losses; zero if there are none."""
        total = self.z_q.new_zeros((), dtype=torch.float32)
        for value in self.losses.values():
            total = total + value
        return total


class Quantizer(nn.Module, ABC):
    """Base of all quantizers; see the package's first lines for the signature."""

    dim: int
    """Channels of a latent, the D of z_q [B, K, D]."""
    size: int
    """How many codes there are; with parts their sum; 0 where latents stay continuous."""
    frozen: bool = False
    """Whether what training moves beside gradients (averages, revivals) stays as it is."""
    parts: tuple[int, ...] = ()
    """Codes per position when there are several: ids[..., j] < parts[j]."""

    @property
    def inputs(self) -> int:
        """Channels of what `forward` takes, where it is more than `dim`."""
        return self.dim

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, inputs]."""

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes [B, K] or [B, K, P]."""

    @abstractmethod
    def margin(self, z: Tensor) -> Tensor:
        """How far each position of z is from having another code: [B, K], at least 0."""

    def encode(self, z: Tensor) -> Tensor:
        """The codes of z, without gradient: [B, K] or [B, K, P].

        Raises:
            TypeError: the latents stay continuous.
        """
        with torch.no_grad():
            ids = self.forward(z).ids
        if ids is None:
            raise TypeError(
                f"{type(self).__name__} latents are continuous and have no codes: use the latents"
            )
        return ids

    def inverse(self, ids: Tensor) -> Tensor:
        """Some latents [B, K, D] that have these codes."""
        return self.lookup(ids)

    @property
    def bits(self) -> float:
        """Bits that one position can carry."""
        return sum(math.log2(part) for part in self.parts or (self.size,) if part)
