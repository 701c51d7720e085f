"""One block of the transformer: grouped-query attention with rotary positions, SwiGLU, norms before both."""

from __future__ import annotations

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

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
