"""A running average of a network's weights, which is smoother than the weights themselves.

average = Average(net, decay=0.999)
average.update(net)                  # after each step
with average.instead(net): ...       # the network with the averages in the place of its parameters
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving averages of all parameters that train; buffers are taken as they are.

    Args:
        net: whose parameters.
        decay: share of the old average that stays after a step.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move a step towards the present parameters."""
        for name, parameter in net.named_parameters():
            if name in self.values:
                self.values[name] = self.values[name].to(parameter.device)
                self.values[name].lerp_(parameter.detach().float(), 1 - self.decay)

    @contextmanager
    def instead(self, net: nn.Module) -> Iterator[None]:
        """The averages in the place of the parameters, for the time of a with block."""
        own = {name: p.detach().clone() for name, p in net.named_parameters() if name in self.values}
        self._put(net, self.values)
        try:
            yield
        finally:
            self._put(net, own)

    @torch.no_grad()
    def _put(self, net: nn.Module, values: Mapping[str, Tensor]) -> None:
        for name, parameter in net.named_parameters():
            if name in values:
                parameter.copy_(values[name])
