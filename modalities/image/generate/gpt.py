"""GPT: an autoregressive generator of one-dimensional codes, as LlamaGen and GigaTok have it.

    generator = GPT(GPTConfig.preset("b"))
    codes = generator.sample(classes [B], generator.config.sampling, torch.Generator())      # int64 [B, K]

Sun et al., LlamaGen, arXiv:2406.06525, in the form of GigaTok (Xiong et al., arXiv:2504.08736): a Llama-like
transformer without biases, learned absolute positions, the class as the first token. Works on the codes of any
one-dimensional tokenizer whose positions carry one code each. What its middle layer knows about the class of a
picture is what `probe` measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ...common import guidance
from ...common.attention import Cache
from ...common.keys import KeyMap, Rename
from .llamagen import NAMES, LlamaGen, LlamaGenConfig, LlamaGenSampling, likeliest, shape, size

if TYPE_CHECKING:
    from ...common.checkpoint import Checkpoint


class GPTSampling(LlamaGenSampling):
    """How codes are drawn. The published figures take all codes at temperature 1."""

    guidance: float = Field(1.75, ge=0, description="scale of the guidance; 0 or 1 = none")
    schedule: Literal["constant", "late"] = Field(
        "late", description="late: the first code, then from `begin` on"
    )
    begin: float = Field(0.18, ge=0, le=1, description="late: share of the codes before the guidance sets in")

    def scale(self, place: int, tokens: int) -> float:
        """The guidance for the code at `place` of `tokens`; 1 is none."""
        if not self.guidance:
            return 1.0
        if self.schedule == "constant" or place == 0:  # the class token is always read with guidance
            return self.guidance
        return guidance.late(self.guidance, self.begin)(place / (tokens - 1))


class GPTConfig(LlamaGenConfig):
    """Everything that builds the generator, and how it is best sampled from."""

    sampling: GPTSampling = GPTSampling()

    @classmethod
    def preset(cls, name: str) -> GPTConfig:
        """A released size: "b", "l", "xl" or "xxl".

        Raises:
            ValueError: another name.
        """
        return cls(**size(name, "GPT"))


class GPT(LlamaGen):
    """The generator, its training loss and its sampler."""

    KEYS = KeyMap(Rename(r"^positional_embedding$", "place"), *NAMES)

    def own(self, width: int) -> None:
        """Positions of the class and of all codes."""
        self.place = nn.Parameter(torch.randn(1 + self.config.tokens, width) * width**-0.5)

    def forward(self, codes: Tensor, classes: Tensor, caches: list[Cache] | None = None) -> Tensor:
        """Logits of the next code after each position.

        Args:
            codes: int64 [B, n], n < K, the codes so far.
            classes: int64 [B], -1 for no class.
            caches: keys and values of what an earlier call has seen; one for each block.

        Returns:
            [B, n + 1, N], the last of the code that comes next; with caches that have seen something those of
            the new positions alone.
        """
        out: Tensor = self.head(self.norm_out(self.states(codes, classes, caches=caches)))
        return out

    def states(
        self,
        codes: Tensor,
        classes: Tensor,
        *,
        layer: int | None = None,
        caches: list[Cache] | None = None,
    ) -> Tensor:
        """The stream [B, n + 1, W] after `layer` blocks, after all if not given; the rest as in `forward`.

        Raises:
            ValueError: more codes than positions, or no such layer.
        """
        if codes.shape[1] >= self.place.shape[0]:
            raise ValueError(f"{codes.shape[1]} codes, but this generator writes {self.config.tokens}")
        if layer is not None and not 1 <= layer <= len(self.blocks):
            raise ValueError(f"layer {layer}, but this generator has layers 1 to {len(self.blocks)}")
        seen = caches[0].count if caches else 0
        if seen:
            x = self.embed(codes[:, seen - 1 :])
        else:
            x = torch.cat([self.first(classes), self.embed(codes)], dim=1)
        x = F.dropout(x + self.place[seen : seen + x.shape[1]], self.config.dropout, self.training)
        mask = None
        if x.shape[1] > 1:
            mask = torch.ones(x.shape[1], seen + x.shape[1], dtype=torch.bool, device=x.device).tril(seen)
        out: Tensor = x
        for number, block in enumerate(self.blocks[:layer]):
            out = block(out, mask=mask, cache=caches[number] if caches else None)
        return out

    def loss(
        self,
        codes: Tensor,
        classes: Tensor,
        *,
        drop: float = 0.1,
        generator: Generator | None = None,
    ) -> Tensor:
        """Cross-entropy of the codes.

        Args:
            codes: int64 [B, K].
            classes: int64 [B].
            drop: share of the rows that lose their class, which guidance needs.
            generator: of the dropping.
        """
        dropped = (torch.rand(len(codes), generator=generator) < drop).to(codes.device)
        logits = self(codes[:, :-1], torch.where(dropped, -1, classes))
        return F.cross_entropy(logits.transpose(1, 2), codes)

    @torch.no_grad()
    def sample(
        self, classes: Tensor, sampling: GPTSampling | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Codes int64 [B, K] of classes [B], one forward for each code."""
        how = sampling or self.config.sampling
        tokens, rows = self.config.tokens, len(classes)
        guided = how.guidance not in (0.0, 1.0)
        both = torch.cat([classes, torch.full_like(classes, -1)]) if guided else classes
        caches = [Cache(tokens) for _ in self.blocks]
        ids = classes.new_zeros(rows, 0)
        for place in range(tokens):
            logits = self(ids.repeat(len(both) // rows, 1), both, caches=caches)[:, -1]
            if guided:
                with_class, without = logits.chunk(2)
                scale = how.scale(place, tokens)
                logits = with_class if scale == 1.0 else guidance.guided(with_class, without, scale)
            share = likeliest(logits.float() / how.temperature, how.top_k, how.top_p).softmax(-1).cpu()
            ids = torch.cat([ids, torch.multinomial(share, 1, generator=generator).to(ids.device)], dim=1)
        return ids

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[GPTConfig, dict[str, Tensor]]:
        """Configuration and tensors, under our names, of a released generator; sizes come from the shapes.

        Heads have 64 channels in all of them.
        """
        state = GPT.KEYS.ours(checkpoint.state)
        return GPTConfig(tokens=state["place"].shape[0] - 1, **shape(state)), state
