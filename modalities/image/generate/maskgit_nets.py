"""The two bidirectional transformers that predict masked codes: BERT's shape and U-ViT's.

    net(ids [B, 1 + K]) -> logits [B, K, N]          ids: the class, then the codes or the mask

`Bert` (Devlin et al., arXiv:1810.04805) generates for TiTok-L-32 and B-64, `UViT` (Bao et al.,
arXiv:2209.12152: long skip connections from the first half of the blocks to the second) for TiTok-S-128.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...common.blocks import Block, init_linear
from ...common.keys import Drop, Fuse, KeyMap, Rename, Squeeze


class Bert(nn.Module):
    """BERT's encoder: norms after each part.

    Args:
        ids: how many ids there are: codes, mask, classes, no class.
        codes: N.
        tokens: K.
        width, layers, heads, hidden: of the transformer.
    """

    KEYS = KeyMap(
        Drop(r"embeddings\.position_ids$"),
        Rename(r"^model\.", ""),
        Rename(r"^embeddings\.word_embeddings\.", "embed."),
        Rename(r"^embeddings\.position_embeddings\.weight", "position"),
        Rename(r"^embeddings\.token_type_embeddings\.weight", "kind"),
        Rename(r"^embeddings\.LayerNorm\.", "norm."),
        Rename(r"^encoder\.layer\.", "blocks."),
        Fuse(r"attention\.self\.{}\.", ("query", "key", "value"), "attn.qkv."),
        Rename(r"attention\.output\.dense\.", "attn.out."),
        Rename(r"attention\.output\.LayerNorm\.", "norm_1."),
        Rename(r"intermediate\.dense\.", "mlp.up."),
        Rename(r"output\.dense\.", "mlp.down."),
        Rename(r"output\.LayerNorm\.", "norm_2."),
        Rename(r"^lm_head\.", "head."),
    )

    def __init__(
        self, ids: int, codes: int, tokens: int, width: int, layers: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(ids, width)
        self.position = nn.Parameter(torch.zeros(tokens + 1, width))
        self.kind = nn.Parameter(torch.zeros(2, width))  # BERT's two sentences; only the first is in use
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden=hidden, after=True, eps=1e-12) for _ in range(layers)
        )
        self.head = nn.Linear(width, codes)
        self.apply(init_linear)
        for table in (self.embed.weight, self.position, self.kind):
            nn.init.normal_(table, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, 1 + K] -> logits [B, K, N]."""
        x = self.norm(self.embed(ids) + self.kind[0] + self.position[: ids.shape[1]])  # [B, 1 + K, W]
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(x[:, 1:])
        return out


class UViT(nn.Module):
    """U-ViT: as many blocks before as after a middle one, each of the latter reading one of the former.

    Args:
        ids, codes, tokens, width, heads, hidden: as in `Bert`.
        layers: blocks without the middle one; an even number.
    """

    KEYS = KeyMap(
        Squeeze(r"^pos_embed$", (0,)),
        Rename(r"^pos_embed$", "position"),
        Rename(r"^embeddings\.", "embed."),
        Rename(r"^in_blocks\.", "first."),
        Rename(r"^mid_block\.", "middle."),
        Rename(r"^out_blocks\.(\d+)\.skip_linear\.", r"join.\1."),
        Rename(r"^out_blocks\.", "last."),
        Rename(r"\.norm([12])\.", r".norm_\1."),
        Rename(r"attn\.proj\.", "attn.out."),
        Rename(r"mlp\.fc1\.", "mlp.up."),
        Rename(r"mlp\.fc2\.", "mlp.down."),
        Rename(r"^lm_head\.", "head."),
    )

    def __init__(
        self, ids: int, codes: int, tokens: int, width: int, layers: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        if layers % 2:
            raise ValueError(f"a U-ViT of {layers} layers beside the middle one: choose an even number")

        def blocks(count: int) -> list[Block]:
            return [Block(width, heads, hidden=hidden, qkv_bias=False) for _ in range(count)]

        self.embed = nn.Embedding(ids, width)
        self.position = nn.Parameter(torch.zeros(tokens + 1, width))
        self.first = nn.ModuleList(blocks(layers // 2))
        (self.middle,) = blocks(1)
        self.last = nn.ModuleList(blocks(layers // 2))
        self.join = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(layers // 2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, codes)
        self.apply(init_linear)
        for table in (self.embed.weight, self.position):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, 1 + K] -> logits [B, K, N]."""
        x = self.embed(ids) + self.position[: ids.shape[1]]
        skips = []
        for block in self.first:
            x = block(x)
            skips.append(x)
        x = self.middle(x)
        for join, block in zip(self.join, self.last, strict=True):
            x = block(join(torch.cat([x, skips.pop()], dim=-1)))
        out: Tensor = self.head(self.norm(x)[:, 1:])
        return out
