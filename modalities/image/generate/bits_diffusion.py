"""Bits all at once: binary diffusion, a transformer that tells which bits noise has flipped.

    generator = BitsDiffusion(BitsDiffusionConfig())
    codes = generator.sample(text, generator.config.sampling, torch.Generator())      # int64 [B, K, P]

Instella-T2I, arXiv:2506.21022. At time t in [0, 1] a bit keeps its value with probability 1 - t, or else is
drawn anew by a fair coin. The network gives the logit of each bit being another than the clean one; every
block is modulated by the time. Sampling starts from coins at t = 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict

from ...common.keys import KeyMap, Rename
from .bits import (
    EPS,
    RULES,
    BitsConfig,
    BitsNet,
    Condition,
    Prefix,
    Text,
    flip,
    guided,
    init_even,
    released_sizes,
)

if TYPE_CHECKING:
    from ...common.checkpoint import Checkpoint


class BitsDiffusionSampling(Strict):
    """How bits are drawn: at times (1 - i / steps) ** rho, with guidance on the logits of flipping.

    `protocol` says what follows a guess of the clean bits: "renoise" draws the bits of the next time from the
    guess alone, "posterior" from the guess and the bits at hand. The released sampler calls them 1 and 2.
    """

    steps: int = Field(20, ge=1)
    guidance: float = Field(7.5, ge=0, description="(1 + g) with - g without the condition; 0 = none")
    temperature: float = Field(1.0, ge=0, description="divides the logits; 0 = sure of each flip or not")
    rho: float = Field(1.0, gt=0)
    protocol: Literal["renoise", "posterior"] = "renoise"


class BitsDiffusionConfig(BitsConfig):
    """Everything that builds the generator, and how it is best sampled from."""

    sampling: BitsDiffusionSampling = BitsDiffusionSampling()


class BitsDiffusion(BitsNet):
    """The generator, its training loss and its sampler."""

    KEYS = KeyMap(
        Rename(r"\.norm1\.linear\.", ".modulation.linear."),
        Rename(r"^norm_out\.linear\.", "last."),
        Rename(r"^time_embed\.linear_1\.", "time.0."),
        Rename(r"^time_embed\.linear_2\.", "time.2."),
        *RULES,
    )

    def __init__(self, config: BitsDiffusionConfig) -> None:
        super().__init__(config, config.tokens, modulated=True)
        self.config = config
        width = config.width
        self.time = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.last = nn.Linear(width, 2 * width)
        self.apply(init_even)

    def forward(self, bits: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Logits [B, K, D] of each bit not being the clean one.

        Args:
            bits: float [B, K, D], noisy, 0 or 1.
            time: float [B], or [1] for all rows.
            condition: see `Condition`.
        """
        text = self.text(condition)
        return self._logits(bits, time, text, [Prefix(k, v) for k, v in self.read(text)])

    def _logits(self, bits: Tensor, time: Tensor, text: Text, caches: list[Prefix]) -> Tensor:
        x = self.embed(bits)
        ones = text.mask.new_ones(len(x), x.shape[1])
        mask = torch.cat([text.mask, ones], dim=1)[:, None, None, :]
        condition = self.time(time.to(x).unsqueeze(-1))  # [B, W]
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache, mask, condition=condition)
        scale, shift = self.last(F.silu(condition)).unsqueeze(1).chunk(2, dim=-1)
        out: Tensor = self.head(F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift)
        return out

    def loss(
        self,
        codes: Tensor,
        condition: Condition,
        *,
        drop: float = 0.1,
        uniform: bool = False,
        generator: Generator | None = None,
    ) -> Tensor:
        """Binary cross-entropy of the clean bits, given noisy ones, in nats per bit.

        Args:
            codes: int64 [B, K, P], or [B, K] with one part.
            condition: see `Condition`.
            drop: share of the rows that lose their condition, which guidance needs.
            uniform: times are uniform, not the sigmoid of normal numbers.
            generator: of times, noise and dropping.
        """
        bits = self.bits(codes)
        text = self.dropping(condition, drop, generator)
        if uniform:
            time = torch.rand(len(bits), generator=generator)
        else:
            time = torch.randn(len(bits), generator=generator).sigmoid()
        time = time.to(bits.device)
        noisy = flip(_noised(bits, time[:, None, None]), generator)
        flipped = self(noisy, time, text)
        return F.binary_cross_entropy_with_logits((1 - 2 * noisy) * flipped, bits)

    @torch.no_grad()
    def sample(
        self,
        condition: Condition,
        sampling: BitsDiffusionSampling | None = None,
        generator: Generator | None = None,
        without: Condition | None = None,
    ) -> Tensor:
        """Codes int64 [B, K, P], or [B, K] with one part.

        Args:
            condition: see `Condition`.
            sampling: the config's own if not given.
            generator: of the draws, one of [B, K, D] at the start and one after each step but the last.
            without: what guidance leads away from, such as states of empty prompts; no text if not given.
        """
        how = sampling or self.config.sampling
        text = self.both(condition, without, how.guidance)
        caches = [Prefix(k, v) for k, v in self.read(text)]
        rows = len(text.mask) // (2 if how.guidance else 1)
        shape = (rows, self.tokens, self.binary.dim)
        bits = flip(torch.full(shape, 0.5, device=text.mask.device), generator)
        times = [(1 - step / how.steps) ** how.rho for step in range(how.steps)]
        for now, then in zip(times, [*times[1:], None], strict=True):
            both = bits.repeat(len(text.mask) // rows, 1, 1)
            logits = guided(self._logits(both, bits.new_tensor([now]), text, caches), how.guidance)
            if how.temperature:
                flipped = torch.sigmoid(logits / how.temperature)
            else:
                flipped = (logits > 0).to(logits)
            clean = bits * (1 - flipped) + (1 - bits) * flipped
            if then is None:
                bits = (clean > 0.5).to(clean)
            elif how.protocol == "renoise":
                bits = flip(_noised(clean, then), generator)
            else:
                bits = flip(_posterior(clean, bits, now, then), generator)
        return self.binary.pack(bits)

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[BitsDiffusionConfig, dict[str, Tensor]]:
        """Configuration and tensors, under our names, of a released generator; sizes come from the shapes."""
        state = checkpoint.state
        places = state["transformer_blocks.0.pos_emb"].shape[1]
        state["norm_out.linear.weight"]  # an autoregressive generator has none
        return BitsDiffusionConfig(tokens=places, **released_sizes(state)), BitsDiffusion.KEYS.ours(state)


def _noised(share: Tensor, time: Tensor | float) -> Tensor:
    """Probability of a set bit at a time, from that of the clean bit being set."""
    return share * (1 - time) + 0.5 * time


def _posterior(clean: Tensor, bits: Tensor, now: float, then: float) -> Tensor:
    """Probability of a set bit at `then`, from that of the clean bit and the bits at `now`."""
    prior = _noised(clean, then)
    like = bits + (now - then) * (0.5 - bits)  # of the bits at hand, if this one is set
    return prior * like / (prior * like + (1 - prior) * (1 - like))
