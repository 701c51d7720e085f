"""Front ends of the point tokenizer: a cloud as groups, each with a place and features.

    Front(config)(clouds [B, N, 3]) -> centres [B, G, 3], features [B, G, F]

Point-PN alone, or Point-PN and a frozen transformer of another modality with its adapters, as in Any2Point
(arXiv:2404.07989) in the paper's form, read before the head.
"""

from __future__ import annotations

from torch import Tensor, nn

from .any2point.config import SHAPES
from .any2point.model import Any2Point
from .any2point.pointpn import PointPN
from .any2point.sources import FrozenSource
from .config import TokenizerConfig

SHARE = 8
"""Point-PN makes one group of so many points."""


class Guided(nn.Module):
    """Any2Point's tokens: clouds [B, N, 3] -> centres [B, G, 3], what its last norm gives for them [B, G, W].

    Args:
        config: `source`, `source_shape`, `groups` and `neighbours` count.
        frozen: the source's tensors; None leaves them random.
    """

    def __init__(self, config: TokenizerConfig, frozen: FrozenSource | None = None) -> None:
        super().__init__()
        shape = {} if config.source_shape is None else {"shape": config.source_shape}
        self.net = Any2Point(
            config.source,
            frozen=frozen,
            points=SHARE * config.groups,
            neighbours=config.neighbours,
            **({} if frozen else shape),
        )
        self.net.head = nn.Identity()
        self.width = self.net.config.shape.width

    def forward(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Clouds [B, N, 3] in the unit sphere -> centres [B, G, 3], features [B, G, W]."""
        centres, tokens = self.net.tokens(clouds)
        return centres, tokens[:, 1:]


def build_front(config: TokenizerConfig, frozen: FrozenSource | None = None) -> tuple[nn.Module | None, int]:
    """The front end and the channels of its features; None for `patches`, which the network holds itself."""
    if config.front == "patches":
        return None, config.width
    if config.front == "point-pn":
        made = PointPN(config.front_width, config.neighbours, SHARE * config.groups, "deviation", False)
        return made, config.front_width
    guided = Guided(config, frozen)
    return guided, guided.width


def source_of(config: TokenizerConfig, frozen: FrozenSource) -> TokenizerConfig:
    """The configuration with the kind and shape of a source that was read."""
    return config.model_copy(update={"source": frozen.source, "source_shape": frozen.shape})


def frozen_shape(config: TokenizerConfig) -> str:
    """The frozen transformer in words, for reports."""
    shape = config.source_shape or SHAPES[config.source]
    return f"{config.source}, {shape.layers} layers of {shape.width}"
