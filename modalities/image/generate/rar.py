"""RAR: an autoregressive generator that learnt in random orders and reads in one.

    generator = RAR(RARConfig.preset("b"))
    codes = generator.sample(classes [B], generator.config.sampling, torch.Generator())      # int64 [B, K]

Yu et al., Randomized Autoregressive Visual Generation, arXiv:2411.00776. In training the codes of an image
come in a random order with probability r, which falls from 1 to 0; each position is told by a second table
which place it has to predict ("target-aware"). Every block is modulated by the class and the step. Works on
any one-dimensional codes. Ids as in MaskGIT: codes, one unused, classes, no class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict

from ...common import guidance
from ...common.attention import Cache
from ...common.blocks import Block, Modulation, init_linear
from ...common.keys import KeyMap, Rename, Squeeze

if TYPE_CHECKING:
    from ...common.checkpoint import Checkpoint

SPARE, SPARE_STEPS = 1024, 100
"""Rows of the released position and step tables beyond the codes; part of the files, not in use."""


class RARSampling(Strict):
    """How codes are drawn: guidance climbs to `guidance` along a power-cosine, 0 = none."""

    guidance: float = Field(16.0, ge=0)
    power: float = Field(2.75, gt=0)
    temperature: float = Field(1.0, gt=0)


class RARConfig(Strict):
    """Everything that builds the generator, and how it is best sampled from."""

    tokens: int = Field(256, ge=1, description="codes of an image")
    codes: int = Field(1024, ge=2, description="size of the tokenizer's codebook")
    classes: int = Field(1000, ge=1)
    width: int = 768
    layers: int = Field(24, ge=1)
    heads: int = 16
    hidden: int = 3072
    sampling: RARSampling = RARSampling()

    @classmethod
    def preset(cls, name: str) -> RARConfig:
        """A released size: "b", "l", "xl" or "xxl".

        Raises:
            ValueError: another name.
        """
        if name not in SIZES:
            raise ValueError(f"no RAR is called {name!r}: there are {', '.join(SIZES)}")
        width, layers, hidden, scale, power = SIZES[name]
        return cls(
            width=width, layers=layers, hidden=hidden, sampling=RARSampling(guidance=scale, power=power)
        )


SIZES = {
    "b": (768, 24, 3072, 16.0, 2.75),
    "l": (1024, 24, 4096, 15.5, 2.5),
    "xl": (1280, 32, 5120, 6.9, 1.5),
    "xxl": (1408, 40, 6144, 8.0, 1.2),
}
"""Width, layers, hidden width, guidance and its power."""


class RAR(nn.Module):
    """The generator, its training loss and its sampler."""

    KEYS = KeyMap(
        Squeeze(r"^(pos_embed|target_aware_pos_embed|timesteps_embeddings)$", (0,)),
        Squeeze(r"^cls_token$", (0, 1)),
        Rename(r"^cls_token$", "start"),
        Rename(r"^pos_embed$", "position"),
        Rename(r"^target_aware_pos_embed$", "target"),
        Rename(r"^timesteps_embeddings$", "step"),
        Rename(r"^embeddings\.", "embed."),
        Rename(r"^blocks\.(\d+)\.adaLN_modulation\.1\.", r"modulations.\1.linear."),
        Rename(r"\.norm([12])\.", r".norm_\1."),
        Rename(r"attn\.proj\.", "attn.out."),
        Rename(r"mlp\.fc1\.", "mlp.up."),
        Rename(r"mlp\.fc2\.", "mlp.down."),
        Rename(r"^adaln_before_head\.adaLN_modulation\.1\.", "last."),
        Rename(r"^lm_head\.", "head."),
    )

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.none = config.codes + config.classes + 1
        self.embed = nn.Embedding(self.none + 1, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.position = nn.Parameter(torch.zeros(config.tokens + SPARE, width))
        self.target = nn.Parameter(torch.zeros(config.tokens + SPARE, width))
        self.step = nn.Parameter(torch.zeros(config.tokens + SPARE_STEPS, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, hidden=config.hidden, eps=1e-6, qk_norm="layer")
            for _ in range(config.layers)
        )
        self.last = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, config.codes)
        self.apply(init_linear)
        self.modulations = nn.ModuleList(Modulation(width) for _ in range(config.layers))  # begin at zero
        nn.init.zeros_(self.last.weight)
        for table in (self.embed.weight, self.position, self.target, self.step):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(
        self,
        codes: Tensor,
        classes: Tensor,
        orders: Tensor | None = None,
        caches: list[Cache] | None = None,
    ) -> Tensor:
        """Logits of the next code after each position.

        Args:
            codes: int64 [B, n], n <= K, the codes so far, in the order of `orders`.
            classes: int64 [B], -1 for no class.
            orders: int64 [B, K], which place comes when; in their own order if not given.
            caches: keys and values of what an earlier call has seen; one for each block.

        Returns:
            [B, n + 1, N], the last of the code that comes next; with caches that have seen something those of
            the new positions alone.
        """
        seen = caches[0].count if caches else 0
        condition = self.embed(torch.where(classes < 0, self.none, classes + self.config.codes + 1))
        x = torch.cat(
            [self.start.expand(len(codes), 1, -1), condition.unsqueeze(1), self.embed(codes)], dim=1
        )
        x = (x + self._places(orders, len(codes))[:, : x.shape[1]])[:, seen:]  # [B, T, W]
        step = condition.unsqueeze(1) + self.step[seen : seen + x.shape[1]]
        mask = None
        if x.shape[1] > 1:
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        for number, (block, modulation) in enumerate(zip(self.blocks, self.modulations, strict=True)):
            x = block(x, mask=mask, modulation=modulation(step), cache=caches[number] if caches else None)
        if not seen:
            x, step = x[:, 1:], step[:, 1:]  # the start token predicts nothing
        scale, shift = self.last(F.silu(step)).chunk(2, dim=-1)
        out: Tensor = self.head(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        return out

    def _places(self, orders: Tensor | None, rows: int) -> Tensor:
        """What is added to start, class and codes [B, K + 2, W]: their own place, and the one they predict."""
        tokens = self.config.tokens
        if orders is None:
            orders = torch.arange(tokens, device=self.position.device).expand(rows, -1)
        own = torch.cat([self.position[:2].expand(rows, -1, -1), self.position[orders + 2]], dim=1)
        edge = torch.zeros_like(own[:, :1])
        return own + torch.cat([edge, self.target[orders + 2], edge], dim=1)

    def loss(
        self,
        codes: Tensor,
        classes: Tensor,
        *,
        random: float = 0.0,
        drop: float = 0.1,
        generator: Generator | None = None,
    ) -> Tensor:
        """Cross-entropy of the codes, of each row in a random order with probability `random`.

        Args:
            codes: int64 [B, K].
            classes: int64 [B].
            random: see `random_share`.
            drop: share of the rows that lose their class, which guidance needs.
            generator: of the orders and the dropping.
        """
        rows, tokens = codes.shape
        shuffled = torch.rand(rows, tokens, generator=generator).argsort(-1)
        mixed = torch.rand(rows, 1, generator=generator) < random
        orders = torch.where(mixed, shuffled, torch.arange(tokens)).to(codes.device)
        dropped = (torch.rand(rows, generator=generator) < drop).to(codes.device)
        ordered = codes.gather(1, orders)
        logits = self(ordered, torch.where(dropped, -1, classes), orders)[:, :-1]
        return F.cross_entropy(logits.transpose(1, 2), ordered)

    @torch.no_grad()
    def sample(
        self, classes: Tensor, sampling: RARSampling | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Codes int64 [B, K] of classes [B], in their own order, one forward for each code."""
        how = sampling or self.config.sampling
        tokens, rows = self.config.tokens, len(classes)
        schedule = guidance.power_cosine(how.guidance, how.power)
        both = torch.cat([classes, torch.full_like(classes, -1)]) if how.guidance else classes
        caches = [Cache(tokens + 2) for _ in self.blocks]
        ids = classes.new_zeros(rows, 0)
        for place in range(tokens):
            logits = self(ids.repeat(len(both) // rows, 1), both, caches=caches)[:, -1]
            if how.guidance:
                with_class, without = logits.chunk(2)
                logits = guidance.guided(with_class, without, schedule(place / tokens))
            share = (logits / how.temperature).softmax(-1).cpu()
            ids = torch.cat([ids, torch.multinomial(share, 1, generator=generator).to(ids.device)], dim=1)
        return ids

    @staticmethod
    def released(checkpoint: Checkpoint) -> tuple[RARConfig, dict[str, Tensor]]:
        """Configuration and tensors, under our names, of a released RAR; sizes come from the shapes."""
        state = checkpoint.state
        width = state["head.weight" if "head.weight" in state else "lm_head.weight"].shape[1]
        codes = state["lm_head.weight"].shape[0]
        known = next((name for name, size in SIZES.items() if size[0] == width), "b")
        config = RARConfig(
            tokens=state["pos_embed"].shape[1] - SPARE,
            codes=codes,
            classes=state["embeddings.weight"].shape[0] - codes - 2,
            width=width,
            layers=sum(key.endswith(".norm1.weight") for key in state),
            heads=width // state["blocks.0.attn.q_norm.weight"].shape[0],
            hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
            sampling=RARConfig.preset(known).sampling,
        )
        return config, RAR.KEYS.ours(state)


def random_share(step: int, start: int, end: int) -> float:
    """The probability of a random order at a step: 1 until `start`, then falling to 0 at `end`."""
    if step < start:
        return 1.0
    return max(0.0, 1 - (step - start) / (end - start)) if step < end else 0.0
