"""The decoder: Qwen3's shape and Hugging Face's names, side channels added to the token embedding.

    hidden = decoder(tokens, doc, pos, side)     # [B, T] -> [B, T, D]
    logits = decoder.logits(hidden)              # [..., D] -> [..., V]

RMSNorm, rotary positions (the half-rotation of Hugging Face), grouped-query attention, SwiGLU, a norm on
each head's query and key, an untied head (Yang et al., "Qwen3 Technical Report", 2025). Parameters are
called as in `Qwen3ForCausalLM`, so pretrained folders load and exports open there. The names
`embed_tokens`, `embed_<channel>` and `lm_head` also tell DeepSpeed's Muon what to leave to Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unitok.model import embed
from unitok.model.attention import Where, attend
from unitok.model.config import ModelConfig


class KeyValues(Protocol):
    """What the decoder asks of a key/value cache, so that a step of generation costs one step.

    `mask(t)` is asked for first, once per forward, then `append` once per layer in order; the cache moves on
    by `t` positions after the last layer.
    """

    def mask(self, t: int) -> Tensor:
        """Bool [B, 1, t, S]: which of the S positions that `append` returns each of `t` new ones sees."""
        ...

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values [B, G, t, d] of new positions; returns all of them, [B, G, S, d]."""
        ...


class Attention(nn.Module):
    """Grouped-query self-attention with rotary positions and normed queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = nn.Linear(config.width, config.heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.width, bias=False)
        norm = nn.RMSNorm if config.qk_norm else nn.Identity
        self.q_norm = norm(config.head_dim, eps=config.norm_eps)
        self.k_norm = norm(config.head_dim, eps=config.norm_eps)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], where: Where, cache: KeyValues | None, layer: int
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        q = rearrange(self.q_proj(x), "b t (h d) -> b h t d", d=self.head_dim)
        k = rearrange(self.k_proj(x), "b t (h d) -> b h t d", d=self.head_dim)
        v = rearrange(self.v_proj(x), "b t (h d) -> b h t d", d=self.head_dim)
        q, k = rotate(self.q_norm(q), turn), rotate(self.k_norm(k), turn)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        out = attend(q, k, v, where)  # [B, H, T, d]
        return cast("Tensor", self.o_proj(rearrange(out, "b h t d -> b t (h d)")))


class Mlp(nn.Module):
    """SwiGLU (Shazeer, "GLU variants improve transformer", 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return cast("Tensor", self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x)))


class Layer(nn.Module):
    """One block: normed attention, then normed SwiGLU, each added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], where: Where, cache: KeyValues | None, layer: int
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.self_attn(self.input_layernorm(x), turn, where, cache, layer)
        return cast("Tensor", x + self.mlp(self.post_attention_layernorm(x)))


class Backbone(nn.Module):
    """Everything but the head; `model.` in the names of Hugging Face."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        for name, side in config.channels.items():
            self.add_module(f"embed_{name}", embed.build(side, config.width))

    def forward(
        self, tokens: Tensor, pos: Tensor, side: Mapping[str, Tensor], where: Where, cache: KeyValues | None
    ) -> Tensor:
        """Tokens [B, T] -> hidden states [B, T, D]."""
        x = self.embed_tokens(tokens)  # [B, T, D]
        for name, spec in self.config.channels.items():
            channel = side[name] if name in side else embed.absent(spec, tokens)
            x = x + self.get_submodule(f"embed_{name}")(channel)
        turn = rotary(pos, self.config.head_dim, self.config.rope_theta, x.dtype)
        for number, layer in enumerate(self.layers):
            if self.config.recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, turn, where, cache, number, use_reentrant=False)
            else:
                x = layer(x, turn, where, cache, number)
        return cast("Tensor", self.norm(x))


class Decoder(nn.Module):
    """A causal language model over shared ids; see the module's text."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights: fan-in scaled, the two outputs of each block damped by the depth.

        The token table has 0.3, not the usual 0.02: beside it the blocks' outputs, about 1, would drown the
        token, which costs a small model a third of a nat after 400,000 tokens.
        """
        for name, weight in self.named_parameters():
            if weight.dim() < 2 or (".embed_" in name and "embed_tokens" not in name):
                continue  # norms stay at 1, side channels at 0
            std = weight.shape[1] ** -0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= (2 * self.config.layers) ** 0.5
            elif name.endswith("embed_tokens.weight"):
                std = 0.3
            weight.normal_(std=std)

    def forward(
        self,
        tokens: Tensor,
        doc: Tensor,
        pos: Tensor,
        side: Mapping[str, Tensor] | None = None,
        cache: KeyValues | None = None,
    ) -> Tensor:
        """Hidden states of a batch of rows.

        Args:
            tokens: int64 [B, T], shared ids.
            doc: int [B, T], -1 for pads; positions see their own document alone. Ignored with a cache.
            pos: int64 [B, T], positions, starting anew in each document.
            side: {channel: [B, T, width]}; a missing channel is absent everywhere.
            cache: keys and values of earlier positions; its mask replaces the documents'.

        Returns:
            [B, T, D].
        """
        mask = None if cache is None else cache.mask(tokens.shape[1])
        where = Where(doc, self.config.backend, mask)
        return cast("Tensor", self.model(tokens, pos, side or {}, where, cache))

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V]."""
        return cast("Tensor", self.lm_head(hidden))


def rotary(pos: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [B, 1, T, d] of positions [B, T] (Su et al., "RoFormer", 2021).

    Computed in float32 from the configuration: a buffer would be rounded when the module turns to bf16.
    """
    steps = torch.arange(0, head_dim, 2, dtype=torch.float32, device=pos.device)
    frequency = theta ** (-steps / head_dim)  # [d / 2]
    angle = rearrange(pos.float(), "b t -> b 1 t 1") * frequency
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn heads [B, H, T, d]: the first half of the last axis pairs with the second."""
    cos, sin = turn
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
