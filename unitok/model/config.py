"""Sizes of the decoder, and the one dial `depth` that sets them all. No torch here.

`preset(depth)` keeps the aspect of Qwen3-0.6B, about 40 of width a layer (Yang et al., "Qwen3 Technical
Report", 2025): width 40 x depth in steps of 32, a SwiGLU of 8/3 width, half as many key/value heads as
heads. Depth 4 with 5,000 ids has 2.7 M parameters, half of them in the two id tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from unitok.modality import Side

Backend = Literal["sdpa", "flex"]
Stack = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one decoder.

    Args:
        vocab_size: rows of the token table and of the head.
        width: of the residual stream.
        layers: how many blocks.
        heads: query heads.
        kv_heads: key/value heads; divides `heads`.
        head_dim: of each head; even.
        hidden: inner width of the SwiGLU.
        qk_norm: RMSNorm on each head's query and key (Qwen3); False gives Llama.
        rope_theta: base of the rotary frequencies.
        norm_eps: of every RMSNorm.
        channels: side channels by name, "<block>_<channel>".
        stacks: of each stacked block the ids (first, past the last) of its further parts, in order.
        backend: how packed rows attend, see `unitok.model.attention`.
        recompute: keep only each block's input and run the block again in the backward pass.
        max_length: longest sequence to expect; only written to exported folders.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    qk_norm: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    channels: Mapping[str, Side] = field(default_factory=dict)
    stacks: Mapping[str, Stack] = field(default_factory=dict)
    backend: Backend = "sdpa"
    recompute: bool = False
    max_length: int = 32_768

    def __post_init__(self) -> None:
        if min(self.vocab_size, self.width, self.layers, self.heads, self.kv_heads, self.hidden) < 1:
            raise ValueError(f"{self}: every size of a decoder is at least 1")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{self.heads} heads cannot share {self.kv_heads} kv_heads: choose a divisor of heads"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim {self.head_dim} is odd: rotary embedding turns pairs, choose an even one"
            )

    @classmethod
    def preset(
        cls,
        depth: int = 4,
        *,
        vocab_size: int,
        channels: Mapping[str, Side] | None = None,
        stacks: Mapping[str, Stack] | None = None,
        width: int | None = None,
        backend: Backend = "sdpa",
        recompute: bool = False,
    ) -> ModelConfig:
        """The decoder of `depth` layers; `width` overrides the 40 x depth of the rule."""
        if depth < 1:
            raise ValueError(f"depth is {depth}: a decoder has at least one layer")
        width = width or max(32, 32 * round(40 * depth / 32))
        head_dim = 32 if width < 512 else 64 if width < 1024 else 128
        heads = max(4, 4 * round(width / (4 * head_dim)))
        return cls(
            vocab_size=vocab_size,
            width=width,
            layers=depth,
            heads=heads,
            kv_heads=heads // 2,
            head_dim=head_dim,
            hidden=32 * -(-8 * width // (3 * 32)),
            channels=dict(channels or {}),
            stacks=dict(stacks or {}),
            backend=backend,
            recompute=recompute,
        )

    @property
    def depth_layers(self) -> int:
        """Layers of the depth head, which runs once per further part: a quarter of the decoder's."""
        return max(1, self.layers // 4) if self.stacks else 0

    @property
    def more(self) -> int:
        """The most further parts of a stacked position."""
        return max((len(ranges) for ranges in self.stacks.values()), default=0)

    @property
    def parameters(self) -> int:
        """How many numbers the decoder learns."""
        attention = self.width * self.head_dim * 2 * (self.heads + self.kv_heads)
        norms = 2 * self.width + 2 * self.head_dim * self.qk_norm
        layer = attention + 3 * self.width * self.hidden + norms
        sides = sum((side.size if side.kind == "ids" else side.width) for side in self.channels.values())
        parts = sum(stop - start for ranges in self.stacks.values() for start, stop in ranges)
        entry = self.width + 1 if self.stacks else 0  # and a norm
        blocks = (self.layers + self.depth_layers) * layer
        return blocks + self.width * (2 * self.vocab_size + 1 + sides + parts + entry)


class ModelSection(BaseModel):
    """The `[model]` table of a run: the dial, or a pretrained folder to start from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(4, ge=1, description="layers; sets every other size")
    width: int | None = Field(None, ge=32, description="overrides 40 x depth")
    backend: Backend = Field("sdpa", description="attention: sdpa anywhere, flex on CUDA")
    recompute: bool = Field(False, description="trade time for memory: blocks run again in the backward pass")
    pretrained: str | None = Field(
        None, description="a Hugging Face folder (Qwen3, Llama) whose sizes and weights are taken"
    )

    def build(
        self, vocab_size: int, channels: Mapping[str, Side], stacks: Mapping[str, Stack] | None = None
    ) -> ModelConfig:
        """The sizes for a vocabulary of `vocab_size` ids with these side channels and stacked blocks."""
        return ModelConfig.preset(
            self.depth,
            vocab_size=vocab_size,
            channels=channels,
            stacks=stacks,
            width=self.width,
            backend=self.backend,
            recompute=self.recompute,
        )
