"""MaskGIT on one-dimensional codes: classes to codes in a few parallel steps.

    generator = MaskGIT(MaskGITConfig.preset("l32"))
    codes = generator.sample(classes [B], generator.config.sampling, torch.Generator())     # int64 [B, K]

Chang et al., MaskGIT, arXiv:2202.04200, as TiTok generates (Yu et al., arXiv:2406.07550). All codes start
masked; each step draws every masked one and masks the least sure of them again, fewer each time along an
arccos schedule. Ids: codes 0 .. N - 1, the mask N, classes N + 1 .. N + C, no class N + C + 1. Each released
generator needs its own `Sampling`: with another's its images are far worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict

from ...common import guidance
from .maskgit_nets import Bert, UViT

Uniform = Callable[[tuple[int, ...]], Tensor]
"""Uniform numbers in [0, 1) of a shape."""


if TYPE_CHECKING:
    from ...common.checkpoint import Checkpoint


class Sampling(Strict):
    """How codes are drawn.

    `guidance` is the peak of the schedule: "linear" climbs to 1 + guidance, "power-cosine" to guidance.
    """

    steps: int = Field(8, ge=1)
    temperature: float = Field(4.5, ge=0, description="of the Gumbel noise at the first step; falls to 0")
    guidance: float = Field(3.0, ge=0, description="peak of the guidance; 0 = none")
    schedule: Literal["constant", "linear", "power-cosine"] = "linear"
    power: float = Field(3.0, gt=0, description="of the power-cosine schedule")

    def scale(self, progress: float) -> float:
        """The guidance at `progress` in [0, 1); 1 is none."""
        if not self.guidance:
            return 1.0
        if self.schedule == "power-cosine":
            return guidance.power_cosine(self.guidance, self.power)(progress)
        if self.schedule == "linear":
            return guidance.linear(self.guidance)(progress)
        return 1.0 + self.guidance


class MaskGITConfig(Strict):
    """Everything that builds the generator, and how it is best sampled from."""

    kind: Literal["bert", "uvit"] = "bert"
    tokens: int = Field(ge=1, description="codes of an image")
    codes: int = Field(ge=2, description="size of the tokenizer's codebook")
    classes: int = Field(1000, ge=1)
    width: int = 768
    layers: int = Field(24, ge=1, description="uvit: without the middle block")
    heads: int = 16
    hidden: int = 3072
    sampling: Sampling = Sampling()

    @classmethod
    def preset(cls, name: str) -> MaskGITConfig:
        """The generator released with a TiTok: "l32", "b64" or "s128".

        Raises:
            ValueError: another name.
        """
        if name not in SAMPLING:
            raise ValueError(f"no generator is called {name!r}: there are {', '.join(SAMPLING)}")
        tokens = int(name[1:])
        if name == "s128":
            shape = {"kind": "uvit", "width": 1024, "layers": 20, "hidden": 4096}
        else:
            shape = {"kind": "bert"}
        return cls(tokens=tokens, codes=4096, sampling=SAMPLING[name], **shape)


SAMPLING = {
    "l32": Sampling(steps=8, guidance=4.5, temperature=9.5, schedule="linear"),
    "b64": Sampling(steps=8, guidance=3.0, temperature=11.0, schedule="linear"),
    "s128": Sampling(steps=64, guidance=6.9, temperature=2.8, schedule="power-cosine"),
}
"""What each released generator is sampled with, by its tokenizer."""


class MaskGIT(nn.Module):
    """The generator: a bidirectional transformer over a class and K codes, its training loss and its sampler."""

    def __init__(self, config: MaskGITConfig) -> None:
        super().__init__()
        self.config = config
        self.mask = config.codes
        self.none = config.codes + config.classes + 1
        build = Bert if config.kind == "bert" else UViT
        self.net = build(
            self.none + 1,
            config.codes,
            config.tokens,
            config.width,
            config.layers,
            config.heads,
            config.hidden,
        )

    def forward(self, codes: Tensor, classes: Tensor) -> Tensor:
        """Logits [B, K, N] of every position.

        Args:
            codes: int64 [B, K], with `mask` where a code is hidden.
            classes: int64 [B], -1 for no class.
        """
        condition = torch.where(classes < 0, self.none, classes + self.mask + 1)
        logits: Tensor = self.net(torch.cat([condition.unsqueeze(1), codes], dim=1))
        return logits

    def loss(
        self,
        codes: Tensor,
        classes: Tensor,
        *,
        drop: float = 0.1,
        smoothing: float = 0.1,
        unmasked: float = 0.1,
        generator: Generator | None = None,
    ) -> Tensor:
        """Cross-entropy of codes hidden at random.

        Args:
            codes: int64 [B, K].
            classes: int64 [B].
            drop: share of the rows that lose their class, which guidance needs.
            smoothing: of the labels.
            unmasked: weight of the positions that were not hidden.
            generator: of the hiding and the dropping.
        """
        rows, tokens = codes.shape
        share = torch.acos(torch.rand(rows, generator=generator)) / (math.pi / 2)
        count = (tokens * share.clamp(1e-6, 1.0)).round().clamp(min=1)
        order = torch.rand(rows, tokens, generator=generator).argsort(dim=-1)
        hidden = (order < count[:, None]).to(codes.device)
        dropped = (torch.rand(rows, generator=generator) < drop).to(codes.device)
        logits = self(torch.where(hidden, self.mask, codes), torch.where(dropped, -1, classes))
        each = F.cross_entropy(logits.transpose(1, 2), codes, label_smoothing=smoothing, reduction="none")
        weight = torch.where(hidden, 1.0, unmasked)
        return (each * weight).sum() / (weight.sum() + 1e-8)

    @torch.no_grad()
    def sample(
        self,
        classes: Tensor,
        sampling: Sampling | None = None,
        generator: Generator | None = None,
        uniform: Uniform | None = None,
    ) -> Tensor:
        """Codes int64 [B, K] of classes [B].

        Args:
            classes: int64 [B], on the device of the model; -1 for no class.
            sampling: the config's own if not given.
            generator: of the noise.
            uniform: gives the noise instead, first [B, K, N], then [B, K] at each step.
        """
        how = sampling or self.config.sampling
        draw = uniform or (lambda shape: torch.rand(shape, generator=generator))
        tokens = self.config.tokens
        ids = classes.new_full((len(classes), tokens), self.mask)
        for step in range(how.steps):
            done = (step + 1) / how.steps
            heat = how.temperature * (1 - done)
            masked = ids == self.mask
            logits = self._guided(ids, classes, how.scale(step / how.steps))
            drawn = (logits + heat * _gumbel(draw(tuple(logits.shape))).to(logits)).argmax(-1)
            sure = logits.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
            drawn = torch.where(masked, drawn, ids)
            if step == how.steps - 1:
                return drawn
            sure = torch.where(masked, sure, torch.inf).float()
            sure = sure + heat * _gumbel(draw(tuple(sure.shape))).to(sure)
            # Never all of what was masked, so that each step decides at least one; at least one stays.
            again = min(int(masked[0].sum()) - 1, math.floor(tokens * math.acos(done) / (math.pi / 2)))
            edge = sure.sort(-1).values[:, max(1, again) - 1].unsqueeze(1)
            ids = torch.where(sure <= edge, self.mask, drawn)
        return ids

    def _guided(self, ids: Tensor, classes: Tensor, scale: float) -> Tensor:
        logits: Tensor
        if scale == 1.0:
            logits = self(ids, classes)
            return logits
        both = self(torch.cat([ids, ids]), torch.cat([classes, torch.full_like(classes, -1)]))
        with_class, without = both.chunk(2)
        logits = guidance.guided(with_class, without, scale)
        return logits

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[MaskGITConfig, dict[str, Tensor]]:
        """Configuration and tensors, under our names, of a released TiTok generator.

        Sizes come from the shapes, heads (16 in all of them) and classes from config.json where there is one;
        the sampling is that of the generator's own tokenizer.
        """
        state = checkpoint.state
        uvit = "pos_embed" in state
        table = state["embeddings.weight" if uvit else "model.embeddings.word_embeddings.weight"]
        head = state["lm_head.weight" if uvit else "model.lm_head.weight"]
        place = state["pos_embed"][0] if uvit else state["model.embeddings.position_embeddings.weight"]
        up = state[
            "in_blocks.0.mlp.fc1.weight" if uvit else "model.encoder.layer.0.intermediate.dense.weight"
        ]
        found = checkpoint.config.get("model", {}).get("generator", {})
        pattern = (
            ("in_blocks.", ".norm1.weight") if uvit else ("model.encoder.layer.", ".intermediate.dense.bias")
        )
        layers = sum(key.startswith(pattern[0]) and key.endswith(pattern[1]) for key in state)
        tokens, codes = place.shape[0] - 1, head.shape[0]
        config = MaskGITConfig(
            kind="uvit" if uvit else "bert",
            tokens=tokens,
            codes=codes,
            classes=table.shape[0] - codes - 2,
            width=table.shape[1],
            layers=2 * layers if uvit else layers,
            heads=int(found.get("num_attention_heads", 16)),
            hidden=up.shape[0],
            sampling=SAMPLING.get({32: "l32", 64: "b64", 128: "s128"}.get(tokens, ""), Sampling()),
        )
        keys = UViT.KEYS if uvit else Bert.KEYS
        return config, {f"net.{key}": tensor for key, tensor in keys.ours(state).items()}


def _gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise from uniform numbers."""
    noise: Tensor = -(-(uniform.clamp(min=1e-20).log())).clamp(min=1e-20).log()
    return noise
