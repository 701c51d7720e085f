"""What the generators after LlamaGen share: a Llama-like transformer without biases over codes, the class as first token.

Sun et al., arXiv:2406.06525. `gpt` (GigaTok's form) and `groups` (DetailFlow's) differ in positions, masks and in what
stands between the codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from unitok.strict import Strict

from ...common.blocks import Block
from ...common.keys import Fuse, Rename

SIZES = {"b": (768, 12, 12), "l": (1024, 24, 16), "xl": (1280, 36, 20), "xxl": (1536, 48, 24)}
"""Width, layers and heads."""

NAMES = (
    Rename(r"^cls_embedding\.embedding_table\.", "classes."),
    Rename(r"^tok_embeddings\.", "embed."),
    Rename(r"^layers\.", "blocks."),
    Rename(r"\.attention\.wqkv\.", ".attn.qkv."),
    Rename(r"\.attention\.wo\.", ".attn.out."),
    Fuse(r"feed_forward\.{}\.", ("w1", "w3"), "mlp.up."),
    Rename(r"\.feed_forward\.w2\.", ".mlp.down."),
    Rename(r"\.attention_norm\.", ".norm_1."),
    Rename(r"\.ffn_norm\.", ".norm_2."),
    Rename(r"^norm\.", "norm_out."),
    Rename(r"^output\.", "head."),
)
"""Released names of the parts that are shared."""


class LlamaGenSampling(Strict):
    """How codes are drawn. The published figures take all codes at temperature 1."""

    guidance: float = Field(1.0, ge=0, description="scale of the guidance; 0 or 1 = none")
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(0, ge=0, description="draw among the likeliest k alone; 0 = all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw among the likeliest whose shares add up to it")


class LlamaGenConfig(Strict):
    """What builds the shared parts."""

    tokens: int = Field(256, ge=1, description="codes of an image")
    codes: int = Field(16384, ge=2, description="size of the tokenizer's codebook")
    classes: int = Field(1000, ge=1)
    width: int = 768
    layers: int = Field(12, ge=1)
    heads: int = 12
    hidden: int = 2048
    dropout: float = Field(0.1, ge=0, lt=1, description="in training, of embeddings and of what blocks add")


def size(name: str, what: str) -> dict[str, int]:
    """Width, layers, heads and inner width of a released size: "b", "l", "xl" or "xxl".

    Raises:
        ValueError: another name; `what` says of which generator.
    """
    if name not in SIZES:
        raise ValueError(f"no {what} is called {name!r}: there are {', '.join(SIZES)}")
    width, layers, heads = SIZES[name]
    hidden = -(-(8 * width // 3) // 256) * 256  # two thirds of 4 W, up to a multiple of 256
    return {"width": width, "layers": layers, "heads": heads, "hidden": hidden}


def shape(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The same, with codes and classes, of tensors under our names. Heads have 64 channels in all released files."""
    codes, width = state["embed.weight"].shape
    return {
        "codes": codes,
        "classes": state["classes.weight"].shape[0] - 1,
        "width": width,
        "layers": sum(key.endswith(".norm_1.weight") for key in state),
        "heads": max(1, width // 64),
        "hidden": state["blocks.0.mlp.down.weight"].shape[1],
    }


class LlamaGen(nn.Module):
    """Embeddings, blocks and head; a subclass has `own(width)` for learned tokens of its own, and the rest."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.classes = nn.Embedding(config.classes + 1, width)  # the last is no class
        self.embed = nn.Embedding(config.codes, width)
        self.own(width)
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.heads,
                hidden=config.hidden,
                mlp="swiglu",
                norm_kind="rms",
                bias=False,
                dropout=config.dropout,
            )
            for _ in range(config.layers)
        )
        self.norm_out = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, config.codes, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.head.weight)

    def own(self, width: int) -> None:
        """Learned tokens of the subclass; drawn here, so that a seed gives the weights that it always gave."""
        raise NotImplementedError

    def first(self, classes: Tensor) -> Tensor:
        """The token [B, 1, W] of classes int64 [B], -1 for no class."""
        found: Tensor = self.classes(torch.where(classes < 0, self.config.classes, classes))
        return found.unsqueeze(1)


def likeliest(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Logits [B, N] with -inf for all but the likeliest codes.

    Args:
        logits: [B, N].
        top_k: how many stay; 0 = all. Codes as likely as the last of them stay, too.
        top_p: the fewest whose shares add up to more than this stay.
    """
    if 0 < top_k < logits.shape[-1]:
        edge = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < edge, -torch.inf)
    if top_p < 1.0:
        ranked, order = logits.sort(dim=-1, descending=True)
        share = ranked.softmax(-1)
        late = share.cumsum(-1) - share > top_p  # enough came before it
        logits = logits.masked_fill(late.scatter(1, order, late), -torch.inf)
    return logits
