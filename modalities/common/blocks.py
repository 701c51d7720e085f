"""Transformer blocks of every tokenizer: one `Block` whose options are what the papers differ in.

    Block(width, heads, …)(x [B, T, W], turn=…, mask=…, place=…, memory=…, modulation=…) -> [B, T, W]

| system | norm | mlp | more |
|---|---|---|---|
| TiTok, SEED's and SigLIP's ViT | layer, before | gelu, gelu_tanh | |
| FlowTok's tokenizer | layer, before | swiglu | `turn` on the patches |
| GigaTok's Q-Former | layer, before | gelu | `place` on queries and keys, cross-attention |
| Instella-T2I | rms, before | swiglu, no biases | norms of queries and keys, `turn` |
| FlexTok, DiT | layer without scales | swiglu, gelu_tanh | `modulation` |
| BERT | layer, after | gelu | |

Initialisation matters in small networks: learned tokens (latents, masks, positions) start with standard
deviation 0.5, because at the usual 0.02 the first block's output drowns them and all latents stay equal;
output projections start small, so that a block begins near the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import Attention, Cache, CrossAttention, Norm, TurnHeads, norm

TOKEN_STD = 0.5

Form = Literal["gelu", "gelu_tanh", "relu", "swiglu"]


class Mlp(nn.Module):
    """Two layers with a nonlinearity; "swiglu" (Shazeer, arXiv:2002.05202) gates: `up` holds gate and value rows.

    Args:
        width: W, in and out.
        hidden: inner width.
        form: the nonlinearity.
        bias: of both layers.
    """

    def __init__(self, width: int, hidden: int, form: Form = "gelu", *, bias: bool = True) -> None:
        super().__init__()
        self.form = form
        self.up = nn.Linear(width, hidden * (2 if form == "swiglu" else 1), bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., W] -> [..., W]."""
        x = self.up(x)
        if self.form == "swiglu":
            gate, value = x.chunk(2, dim=-1)
            x = F.silu(gate) * value
        elif self.form == "relu":
            x = F.relu(x)
        else:
            x = F.gelu(x, approximate="tanh" if self.form == "gelu_tanh" else "none")
        out: Tensor = self.down(x)
        return out


class Modulated(NamedTuple):
    """How a block's two branches are shifted, scaled and gated; each [B, 1, W] or [B, T, W]."""

    shift_attn: Tensor
    scale_attn: Tensor
    gate_attn: Tensor
    shift_mlp: Tensor
    scale_mlp: Tensor
    gate_mlp: Tensor


class Modulation(nn.Module):
    """adaLN (Peebles and Xie, arXiv:2212.09748): a condition [B, W] to a block's six vectors.

    Args:
        width: W.
        order: how the rows of the layer are dealt out; released weights differ in it.
    """

    def __init__(self, width: int, order: Sequence[str] = Modulated._fields) -> None:
        super().__init__()
        if sorted(order) != sorted(Modulated._fields):
            raise ValueError(f"order {list(order)} is not one of {', '.join(Modulated._fields)} each")
        self.order = tuple(order)
        self.linear = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor) -> Modulated:
        """condition [B, W] or [B, T, W] -> six tensors [B, 1, W] or [B, T, W]."""
        condition = condition if condition.dim() == 3 else condition.unsqueeze(1)
        pieces = self.linear(F.silu(condition)).chunk(6, dim=-1)
        return Modulated(**dict(zip(self.order, pieces, strict=True)))


class Block(nn.Module):
    """A transformer block: attention, cross-attention if there is a memory, MLP, each added to the stream.

    Args:
        width: W.
        heads: divides W.
        hidden: inner width of the MLP; 4 W if not given.
        mlp: its nonlinearity.
        norm_kind, eps, affine: the norms before (or after) each part.
        after: norm after the sum, as BERT has it, instead of before the part.
        bias: of all linear layers.
        qkv_bias: of queries, keys and values, if other than `bias`.
        qk_norm, qk_affine: see `Attention`.
        cross: whether there is a memory to attend to.
        memory_width: its width, if not W.
        dropout: in training, share of what each part adds that is set to zero.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        hidden: int | None = None,
        mlp: Form = "gelu",
        norm_kind: Norm = "layer",
        eps: float = 1e-5,
        affine: bool = True,
        after: bool = False,
        bias: bool = True,
        qkv_bias: bool | None = None,
        qk_norm: Norm | None = None,
        qk_affine: bool = True,
        cross: bool = False,
        memory_width: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        heading: dict[str, Any] = {
            "bias": bias if qkv_bias is None else qkv_bias,
            "out_bias": bias,
            "qk_norm": qk_norm,
            "qk_affine": qk_affine,
            "eps": eps,
        }
        self.after, self.drop = after, nn.Dropout(dropout)
        self.norm_1 = norm(norm_kind, width, eps, affine)
        self.attn = Attention(width, heads, **heading)
        if cross:
            self.norm_cross = norm(norm_kind, width, eps, affine)
            self.cross = CrossAttention(width, heads, memory_width=memory_width, **heading)
        self.norm_2 = norm(norm_kind, width, eps, affine)
        self.mlp = Mlp(width, hidden or 4 * width, mlp, bias=bias)

    def forward(
        self,
        x: Tensor,
        *,
        turn: TurnHeads | None = None,
        mask: Tensor | None = None,
        place: Tensor | None = None,
        memory: Tensor | None = None,
        memory_place: Tensor | None = None,
        modulation: Modulated | None = None,
        cache: Cache | None = None,
        read: slice | None = None,
    ) -> Tensor:
        """x [B, T, W] -> [B, T, W]; see `Attention` and `CrossAttention` for the options.

        `read` names the tokens that are wanted: the others are seen, but not carried on ([B, read, W]); only
        in blocks with the norms before.
        """
        out: Tensor
        if self.after:
            x = self.norm_1(x + self.drop(self.attn(x, place=place, turn=turn, mask=mask, cache=cache)))
            if memory is not None:
                x = self.norm_cross(
                    x + self.drop(self.cross(x, memory, place=place, memory_place=memory_place))
                )
            out = self.norm_2(x + self.drop(self.mlp(x)))
            return out
        if modulation is None:
            kept = x if read is None else x[:, read]
            x = kept + self.drop(
                self.attn(self.norm_1(x), place=place, turn=turn, mask=mask, cache=cache, read=read)
            )
            if memory is not None:
                x = x + self.drop(
                    self.cross(self.norm_cross(x), memory, place=place, memory_place=memory_place)
                )
            out = x + self.drop(self.mlp(self.norm_2(x)))
            return out
        m = modulation
        inner = self.norm_1(x) * (1 + m.scale_attn) + m.shift_attn
        kept = x
        if read is not None:
            kept, m = x[:, read], Modulated(*(v if v.shape[1] == 1 else v[:, read] for v in m))
        x = kept + m.gate_attn * self.drop(
            self.attn(inner, place=place, turn=turn, mask=mask, cache=cache, read=read)
        )
        out = x + m.gate_mlp * self.drop(self.mlp(self.norm_2(x) * (1 + m.scale_mlp) + m.shift_mlp))
        return out


class Transformer(nn.Module):
    """`layers` blocks between two LayerNorms, as in CLIP and TiTok: x [B, T, W] -> [B, T, W].

    Args:
        width, layers, heads: W, how many blocks, how many heads.
        options: of `Block`.
    """

    def __init__(self, width: int, layers: int, heads: int, **options: Any) -> None:
        super().__init__()
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = [Block(width, heads, **options) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.apply(init_linear)
        for block in blocks:
            for projection in (block.attn.out, block.mlp.down):
                nn.init.normal_(projection.weight, std=0.02 / math.sqrt(2 * layers))

    def forward(
        self,
        x: Tensor,
        *,
        turn: TurnHeads | None = None,
        mask: Tensor | None = None,
        read: slice | None = None,
    ) -> Tensor:
        """x [B, T, W] -> [B, T, W], or only the tokens `read`: the last block then skips the others."""
        x = self.ln_pre(x)
        for block in self.blocks[:-1]:
            x = block(x, turn=turn, mask=mask)
        out: Tensor = self.ln_post(self.blocks[-1](x, turn=turn, mask=mask, read=read))
        return out


class Tokens(nn.Module):
    """`count` learned tokens [count, W]; called with a batch size it gives [B, count, W]."""

    def __init__(self, count: int, width: int, std: float = TOKEN_STD) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width) * std)

    def forward(self, batch: int) -> Tensor:
        """The tokens, repeated for a batch: [batch, count, W]."""
        return self.weight.expand(batch, -1, -1)


def init_linear(module: nn.Module) -> None:
    """Normal(0, 0.02) weights and zero biases for every linear or convolution layer; use with `apply`."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
