"""Bits one position after the other: an autoregressive transformer that tells the probability of each bit.

    generator = BitsAR(BitsARConfig())
    codes = generator.sample(text, generator.config.sampling, torch.Generator())      # int64 [B, K, P]

Instella-T2I, arXiv:2506.21022. The head gives one logit for each bit of the next position: its bits are drawn
independently of one another, given everything before. Works on the codes of any binary tokenizer. The
released sampler divides by the temperature before it asks whether that is zero, which gives nan; here a
temperature of 0 takes the likelier value of each bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict

from ...common.attention import Cache, norm
from ...common.keys import Drop, KeyMap, Rename, Squeeze
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


class BitsARSampling(Strict):
    """How bits are drawn: from (1 + guidance) with - guidance without the condition, over temperature."""

    guidance: float = Field(7.5, ge=0, description="0 = none")
    temperature: float = Field(1.0, ge=0, description="0 = the likelier value of each bit")


class BitsARConfig(BitsConfig):
    """Everything that builds the generator, and how it is best sampled from."""

    sampling: BitsARSampling = BitsARSampling()


class BitsAR(BitsNet):
    """The generator, its training loss and its sampler."""

    KEYS = KeyMap(
        Drop(r"^time_embed\."),  # the released files carry it, and their model never uses it
        Squeeze(r"^split_token$", (0, 1)),
        Rename(r"^split_token$", "start"),
        Rename(r"\.input_layernorm\.", ".norm_1."),
        Rename(r"\.post_attention_layernorm\.", ".norm_2."),
        Rename(r"^norm_out\.", "norm."),
        *RULES,
    )

    def __init__(self, config: BitsARConfig) -> None:
        super().__init__(config, config.tokens + 1, modulated=False)  # the last place is part of the files
        self.config = config
        self.start = nn.Parameter(torch.randn(config.width) * 0.02)
        self.norm = norm("rms", config.width, EPS)
        self.apply(init_even)

    def forward(self, bits: Tensor, condition: Condition) -> Tensor:
        """Logits of the bits that follow each position.

        Args:
            bits: float [B, n, D], n < K, the bits so far, 0 or 1.
            condition: see `Condition`.

        Returns:
            [B, n + 1, D], the first of the first position, the last of the one that comes next.
        """
        text = self.text(condition)
        caches = [Prefix(k, v) for k, v in self.read(text)]
        return self._logits(torch.cat([self._first(len(bits)), self.embed(bits)], dim=1), text, caches, 0)

    def _first(self, rows: int) -> Tensor:
        return self.start.expand(rows, 1, -1)

    def _logits(self, x: Tensor, text: Text, caches: list[Cache] | list[Prefix], first: int) -> Tensor:
        """Logits [B, n, D] of embedded positions [B, n, W] from `first` on; the caches hold what is before."""
        n = x.shape[1]
        causal = torch.ones(n, first + n, dtype=torch.bool, device=x.device).tril(first)
        seen = text.mask[:, None, None, :].expand(-1, 1, n, -1)
        mask = torch.cat([seen, causal.expand(len(x), 1, -1, -1)], dim=-1)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache, mask, first)
        out: Tensor = self.head(self.norm(x))
        return out

    def loss(
        self,
        codes: Tensor,
        condition: Condition,
        *,
        drop: float = 0.1,
        generator: Generator | None = None,
    ) -> Tensor:
        """Binary cross-entropy of every bit, in nats per bit.

        Args:
            codes: int64 [B, K, P], or [B, K] with one part.
            condition: see `Condition`.
            drop: share of the rows that lose their condition, which guidance needs.
            generator: of the dropping.
        """
        bits = self.bits(codes)
        logits = self(bits[:, :-1], self.dropping(condition, drop, generator))
        return F.binary_cross_entropy_with_logits(logits, bits)

    @torch.no_grad()
    def sample(
        self,
        condition: Condition,
        sampling: BitsARSampling | None = None,
        generator: Generator | None = None,
        without: Condition | None = None,
    ) -> Tensor:
        """Codes int64 [B, K, P], or [B, K] with one part.

        Args:
            condition: see `Condition`.
            sampling: the config's own if not given.
            generator: of the draws, one of [B, 1, D] for each position.
            without: what guidance leads away from, such as states of empty prompts; no text if not given.
        """
        how = sampling or self.config.sampling
        text = self.both(condition, without, how.guidance)
        caches = []
        for k, v in self.read(text):
            cache = Cache(k.shape[2] + self.tokens)
            cache(k, v)
            caches.append(cache)
        found: list[Tensor] = []
        x = self._first(len(text.mask))
        for place in range(self.tokens):
            logits = guided(self._logits(x, text, caches, place), how.guidance)
            if how.temperature:
                found.append(flip(torch.sigmoid(logits / how.temperature), generator))
            else:
                found.append((logits > 0).to(logits))
            x = self.embed(found[-1].repeat(len(text.mask) // len(logits), 1, 1))
        return self.binary.pack(torch.cat(found, dim=1))

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[BitsARConfig, dict[str, Tensor]]:
        """Configuration and tensors, under our names, of a released generator; sizes come from the shapes."""
        state = checkpoint.state
        places = state["transformer_blocks.0.pos_emb"].shape[1]
        state["split_token"]  # a diffusion generator has none
        return BitsARConfig(tokens=places - 1, **released_sizes(state)), BitsAR.KEYS.ours(state)
