"""FlowTok's networks: captions to text latents, and the velocity of the flow from them to pictures' latents.

    net = FlowNet(FlowConfig.preset("S"))
    pictures = net.draw(states)                      # states [B, K, W] of captions -> latents [B, K, C], scaled
    texts = net.back(pictures)                       # and back to text latents [B, K, C]

FlowTok (He et al., arXiv:2503.10772, sections 3.2 and 3.3). Captions and pictures have equally many latents of equal
width, so that the flow begins at the text's: time is 0 there and 1 at the picture (the paper counts the other way
round). The velocity network is a DiT (Peebles and Xie, arXiv:2212.09748) that is told the time and, in place of an
empty caption, whether the picture is to follow from the text at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...common.blocks import Block, Modulation
from ...common.flow import euler
from ...common.guidance import guided
from ...common.losses.contrast import Contrast
from ...common.positions import sincos
from ...common.quantize import KL
from ...common.times import TimeEmbedding
from .words import Reader, Writer

if TYPE_CHECKING:
    from .config import FlowConfig, FlowSampling

EPS = 1e-6


class Velocity(nn.Module):
    """Latents on their way, the time and an indicator to the velocity: x [B, K, C] -> [B, K, C]."""

    place: Tensor  # [K, W]

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.embed = nn.Linear(config.channels, width)
        self.register_buffer("place", sincos(config.tokens, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, mlp="gelu_tanh", affine=False, eps=EPS) for _ in range(config.layers)
        )
        self.head = nn.Linear(width, config.channels)
        self.apply(_even)
        self.time = TimeEmbedding(width, scale=1.0)  # times from 0 to 1 as they are
        self.null = nn.Embedding(2, width)
        for weight in (self.time.up.weight, self.time.down.weight, self.null.weight):
            nn.init.normal_(weight, std=0.02)
        self.modulations = nn.ModuleList(Modulation(width) for _ in range(config.layers))
        self.head_modulation = nn.Linear(width, 2 * width)
        for layer in (self.head, self.head_modulation):  # the flow begins at rest
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: Tensor, null: Tensor) -> Tensor:
        """The velocity at x [B, K, C].

        Args:
            x: latents on their way.
            t: times [B], 0 at the text and 1 at the picture.
            null: bool [B], True where the picture need not follow from the text.
        """
        condition = self.time(t) + self.null(null.long())  # [B, W]
        x = self.embed(x) + self.place
        for block, modulation in zip(self.blocks, self.modulations, strict=True):
            x = block(x, modulation=modulation(condition))
        shift, scale = self.head_modulation(F.silu(condition)).unsqueeze(1).chunk(2, dim=-1)
        out: Tensor = self.head(F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift)
        return out


class Projector(nn.Module):
    """States of captions [B, K, W] to means and log-variances of their latents [B, K, 2 C]; nothing masks padding."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        text = config.text
        self.blocks = nn.ModuleList(
            Block(
                text.width,
                text.heads,
                hidden=text.hidden,
                mlp="relu",
                norm_kind="std",
                after=True,
                dropout=text.dropout,
            )
            for _ in range(text.layers)
        )
        self.out = nn.Linear(text.width, 2 * config.channels)

    def forward(self, states: Tensor) -> Tensor:
        """See the class."""
        for block in self.blocks:
            states = block(states)
        out: Tensor = self.out(states)
        return out


class FlowNet(nn.Module):
    """Text projector, alignment MLP, velocity network and, if the configuration has words, a reader and a writer."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        text, words = config.text, config.words
        self.projector = Projector(config)
        self.posterior = KL(config.channels, form="flowtok")
        self.align = nn.Sequential(
            nn.Linear(text.width, text.align),
            nn.SiLU(),
            nn.Linear(text.align, text.align),
            nn.SiLU(),
            nn.Linear(text.align, config.channels),
        )
        self.contrast = Contrast()
        self.velocity = Velocity(config)
        self.reader = Reader(words, config.tokens, text.width) if words and words.reads else None
        self.writer = Writer(words, config.tokens, config.channels) if words and words.writes else None

    def states(self, text: Tensor) -> Tensor:
        """States [B, K, W] of captions: as they are, or read from ids int64 [B, K].

        Raises:
            ValueError: ids for a network without a reader, or states of another shape.
        """
        config = self.config
        if not text.is_floating_point():
            if self.reader is None:
                raise ValueError(
                    "this network reads states of captions [B, K, W], not ids: give what its CLIP makes"
                )
            out: Tensor = self.reader(text)
            return out
        if text.shape[1:] != (config.tokens, config.text.width):
            raise ValueError(
                f"text states of shape {list(text.shape)}: this network takes [B, {config.tokens}, {config.text.width}]"
            )
        return text

    def text_latents(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each [B, K, C], of the latents of captions (states or ids)."""
        return self.posterior.posterior(self.projector(self.states(text)))

    @torch.no_grad()
    def draw(self, text: Tensor, sampling: FlowSampling | None = None, noise: Tensor | None = None) -> Tensor:
        """Latents of pictures [B, K, C], times `scale`, for captions (states or ids).

        Args:
            text: see `states`.
            sampling: the configuration's own if not given.
            noise: standard normal numbers [B, K, C] that the text latents are drawn with; their mean if not given.
        """
        how = sampling or self.config.sampling
        mean, log = self.text_latents(text)
        start = mean if noise is None else mean + how.noise * (0.5 * log).exp() * noise.to(mean)
        times, at = self._times(how.steps, mean.device)
        return self._follow(start, times, at, how.guidance)

    @torch.no_grad()
    def back(self, pictures: Tensor, sampling: FlowSampling | None = None, guidance: float = 1.0) -> Tensor:
        """Text latents [B, K, C] of pictures' latents [B, K, C], times `scale`: the same flow the other way."""
        times, at = self._times((sampling or self.config.sampling).steps, pictures.device)
        return self._follow(pictures, times.flip(0), at.flip(0), guidance)

    def _times(self, steps: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Borders of the steps [S + 1] and when the network is asked [S], the last time nearly at the end."""
        least = self.config.least
        return (
            torch.linspace(least, 1, steps + 1, device=device),
            torch.linspace(0, 1 - least, steps, device=device),
        )

    def _follow(self, x: Tensor, times: Tensor, at: Tensor, guidance: float) -> Tensor:
        """Euler steps; with guidance both branches go through the network together."""
        plain = guidance == 1
        null = torch.arange(1 if plain else 2, device=x.device).repeat_interleave(len(x)).bool()

        def velocity(x: Tensor, now: Tensor) -> Tensor:
            both = x if plain else x.repeat(2, 1, 1)
            found: Tensor = self.velocity(both, now.expand(len(both)), null)
            return found if plain else guided(*found.chunk(2), guidance)

        return euler(velocity, x, times, at)


def _even(module: nn.Module) -> None:
    """Glorot's uniform weights and zero biases, as DiT starts."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
