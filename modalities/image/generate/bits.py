"""What the two generators of bits share: conditions, and blocks in which every layer reads its own text.

    Text(states [L, B, T, V], mask [B, T])        what L layers of a language model made of T tokens
    TextBlock(…)(x [B, n, W], cache)              bits attend to bits and to the text, the text to nothing

Instella-T2I, arXiv:2506.21022. Layer i of a generator projects the states of layer i of a frozen language
model and puts their keys and values before those of its own tokens. They depend on nothing else, so they are
made once for all steps of sampling. Classes do instead of texts: a class is one learned token, the same for
every layer. No condition is a text without tokens: nothing to attend to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict

from ...common.attention import Attention, Cache, Norm, norm
from ...common.blocks import TOKEN_STD, Mlp, Modulated, Modulation
from ...common.keys import Fuse, Rename, Squeeze
from ...common.quantize import Binary

EPS = 1e-6


@dataclass(frozen=True, eq=False)
class Text:
    """States of texts for the layers of a generator.

    states: float [L, B, T, V], one for each layer, or [1, B, T, V] for all of them; mask: bool [B, T], True
    where there is a token.
    """

    states: Tensor
    mask: Tensor

    def dropped(self, rows: Tensor) -> Text:
        """The same, but rows [B] that are True have no text."""
        return Text(self.states, self.mask & ~rows.unsqueeze(1))

    def beside(self, other: Text) -> Text:
        """The rows of both, padded on the left to one length."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        layers = max(len(self.states), len(other.states))
        both = [text._padded(length, layers) for text in (self, other)]
        return Text(torch.cat([text.states for text in both], dim=1), torch.cat([text.mask for text in both]))

    def _padded(self, length: int, layers: int) -> Text:
        missing = length - self.mask.shape[1]
        states = F.pad(self.states, (0, 0, missing, 0))
        states = states.expand(layers, -1, -1, -1) if len(states) == 1 else states
        return Text(states, F.pad(self.mask, (missing, 0)))


Condition = Text | Tensor
"""Texts; float states [B, T, V] or [L, B, T, V] of texts of one length; or int64 classes [B], -1 for none."""


class BitsConfig(Strict):
    """What both generators have. The defaults are the released ones: 16 layers beside AMD-OLMo-1B."""

    tokens: int = Field(128, ge=1, description="positions of an image")
    parts: tuple[int, ...] = Field(
        (256,) * 8, description="codes of a position, as the tokenizer's spec says"
    )
    classes: int = Field(0, ge=0, description="classes that are learned; 0: texts are the condition")
    text_width: int = Field(2048, ge=1, description="width of the language model's states, or of a class")
    width: int = 2048
    layers: int = Field(16, ge=1, description="of the language model, too, if there are texts")
    heads: int = 16

    @model_validator(mode="before")
    @classmethod
    def _codes(cls, given: Any) -> Any:
        """One code for each position, as tokenizers of up to eight bits have it, is one part."""
        if isinstance(given, dict) and "codes" in given:
            given = {**given, "parts": (given["codes"],)}
            del given["codes"]
        return given

    @property
    def bits(self) -> int:
        """Bits of a position.

        Raises:
            ValueError: the parts are not those of a binary tokenizer.
        """
        *full, last = self.parts
        if any(part != 256 for part in full) or last not in {2**bits for bits in range(1, 9)}:
            raise ValueError(
                f"parts {list(self.parts)} hold no bits: a binary tokenizer has parts of 256, the last of a "
                "power of two"
            )
        return 8 * len(full) + round(math.log2(last))


class Prefix(Cache):
    """Keys and values of a text, put before those of every call."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        super().__init__(k.shape[2])
        self.kept, self.count = (k, v), k.shape[2]

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k, v [B, H, n, d] -> [B, H, T + n, d]."""
        assert self.kept is not None
        return torch.cat([self.kept[0], k], dim=2), torch.cat([self.kept[1], v], dim=2)


class TextBlock(nn.Module):
    """A transformer block whose attention sees a text before its own tokens.

    Args:
        config: width, heads and the width of the texts.
        places: how many positions have a learned vector, which is added to the normed input.
        modulated: whether a condition shifts, scales and gates the branches; else the norms are RMS norms.
    """

    def __init__(self, config: BitsConfig, places: int, modulated: bool) -> None:
        super().__init__()
        width = config.width
        kind: Norm = "layer" if modulated else "rms"
        self.norm_1 = norm(kind, width, EPS, affine=not modulated)
        self.norm_2 = norm(kind, width, EPS, affine=not modulated)
        self.attn = Attention(width, config.heads, bias=False, out_bias=False, qk_norm="rms", eps=EPS)
        self.mlp = Mlp(width, 4 * width, "gelu_tanh")
        self.text = nn.Linear(config.text_width, width)
        self.place = nn.Parameter(torch.randn(places, width) * TOKEN_STD)
        self.modulation = Modulation(width) if modulated else None

    def read(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, T, d] of texts [B, T, V]."""
        width = self.place.shape[1]
        both = F.linear(self.text(states), self.attn.qkv.weight[width:])
        k, v = rearrange(both, "b t (two h d) -> two b h t d", two=2, h=self.attn.heads)
        return self.attn.k_norm(k), v

    def forward(
        self,
        x: Tensor,
        cache: Cache,
        mask: Tensor,
        first: int = 0,
        condition: Tensor | None = None,
    ) -> Tensor:
        """x [B, n, W] of the positions from `first` on -> the same; mask [B, 1, n or 1, T + first + n]."""
        m: Modulated | None = None if self.modulation is None else self.modulation(condition)
        inner = self.norm_1(x)
        if m is not None:
            inner = inner * (1 + m.scale_attn) + m.shift_attn
        found = self.attn(inner + self.place[first : first + x.shape[1]], mask=mask, cache=cache)
        x = x + (found if m is None else m.gate_attn * found)
        if m is None:
            out: Tensor = x + self.mlp(self.norm_2(x))
        else:
            out = x + m.gate_mlp * self.mlp(self.norm_2(x) * (1 + m.scale_mlp) + m.shift_mlp)
        return out


class BitsNet(nn.Module):
    """Bits in, logits out, and what conditions the blocks between; the two generators build on it."""

    def __init__(self, config: BitsConfig, places: int, modulated: bool) -> None:
        super().__init__()
        self.tokens, self.layers, self.text_width = config.tokens, config.layers, config.text_width
        self.binary = Binary(config.bits, "bernoulli")
        self.embed = nn.Linear(config.bits, config.width)
        self.blocks = nn.ModuleList(TextBlock(config, places, modulated) for _ in range(config.layers))
        self.head = nn.Linear(config.width, config.bits)
        self.classes = nn.Embedding(config.classes, config.text_width) if config.classes else None

    def bits(self, codes: Tensor) -> Tensor:
        """Bits [B, K, D], 0 or 1, of codes int64 [B, K, P], or [B, K] with one part."""
        return self.binary.lookup(codes)

    def text(self, condition: Condition) -> Text:
        """Any condition as a text.

        Raises:
            ValueError: classes for a generator of texts or the other way round, or states of other shapes.
        """
        if isinstance(condition, Tensor) and not condition.is_floating_point():
            if self.classes is None:
                raise ValueError("this generator takes texts, and classes were given: give their states")
            known = condition >= 0
            states = self.classes(condition.clamp(min=0)).unsqueeze(1)
            return Text(states.unsqueeze(0), known.unsqueeze(1))
        if isinstance(condition, Tensor):
            states = condition if condition.dim() == 4 else condition.unsqueeze(0)
            condition = Text(states, torch.ones(states.shape[1:3], dtype=torch.bool, device=states.device))
        shape = condition.states.shape
        if len(shape) != 4 or shape[0] not in {1, self.layers} or shape[3] != self.text_width:
            raise ValueError(
                f"text states of shape {list(shape)}: this generator takes [{self.layers}, B, T, "
                f"{self.text_width}], the states of {self.layers} layers (or [1, …], one for all of them)"
            )
        return condition

    def dropping(self, condition: Condition, drop: float, generator: Generator | None) -> Text:
        """The condition as a text, of which a share of the rows loses all."""
        text = self.text(condition)
        rows = torch.rand(len(text.mask), generator=generator) < drop
        return text.dropped(rows.to(text.mask.device))

    def both(self, condition: Condition, without: Condition | None, guidance: float) -> Text:
        """What sampling reads: the condition and, with guidance, below it what stands for none."""
        text = self.text(condition)
        if not guidance:
            return text
        nothing = text.dropped(torch.ones_like(text.mask[:, 0]))
        return text.beside(nothing if without is None else self.text(without))

    def read(self, text: Text) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of the text for each block."""
        states: Sequence[Tensor] = list(text.states)
        if len(states) == 1:
            states = list(states) * self.layers
        return [block.read(each) for block, each in zip(self.blocks, states, strict=True)]  # type: ignore[operator]


def init_even(module: nn.Module) -> None:
    """Xavier weights and zero biases for a linear layer, good at any width; modulations begin shut. For `apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Modulation):  # after its layer: `apply` goes from the inside out
        nn.init.zeros_(module.linear.weight)


def guided(logits: Tensor, guidance: float) -> Tensor:
    """(1 + g) with - g without, of rows with the condition above those without; unchanged for g = 0."""
    if not guidance:
        return logits
    given, without = logits.chunk(2)
    return (1 + guidance) * given - guidance * without


def flip(share: Tensor, generator: Generator | None) -> Tensor:
    """Bits, each set with its probability."""
    return (torch.rand(share.shape, generator=generator).to(share) < share).to(share)


RULES = (
    Squeeze(r"\.pos_emb$", (0,)),
    Rename(r"^transformer_blocks\.", "blocks."),
    Rename(r"\.pos_emb$", ".place"),
    Rename(r"\.proj_cond\.", ".text."),
    Rename(r"\.(mlp|ff)\.net\.0\.proj\.", ".mlp.up."),
    Rename(r"\.(mlp|ff)\.net\.2\.", ".mlp.down."),
    Fuse(r"\.attn\.{}_proj\.", ("q", "k", "v"), ".attn.qkv."),
    Rename(r"\.attn\.o_proj\.", ".attn.out."),
    Rename(r"\.attn\.norm_([qk])\.", r".attn.\1_norm."),
    Rename(r"^x_embedder\.", "embed."),
    Rename(r"^proj_out\.", "head."),
)
"""Names that both released generators have."""


def released_sizes(state: dict[str, Tensor]) -> dict[str, Any]:
    """Fields of `BitsConfig` from a released state dict, but for the tokens."""
    width, bits = state["x_embedder.weight"].shape
    text = state["transformer_blocks.0.proj_cond.weight"]
    whole, rest = divmod(bits, 8)
    return {
        "parts": (256,) * whole + ((2**rest,) if rest else ()),
        "text_width": text.shape[1],
        "width": width,
        "layers": sum(key.endswith(".proj_cond.weight") for key in state),
        "heads": width // state["transformer_blocks.0.attn.norm_q.weight"].shape[0],
    }
