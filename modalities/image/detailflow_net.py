"""The network of DetailFlow: codes from coarse to fine, and pictures as large as the codes are many.

DetailFlow (Liu et al., arXiv:2505.21473). Both halves are SigLIP's transformer over patches and latents. In the
encoder patches see patches; a latent sees the patches, the latents of earlier groups and its own group, in the first
group only those before it. So a picture's patches are read once for any number of latents, and the first latents are
the same with or without the rest. The decoder has one mask token for each patch of a picture of any size; positions
of patches are one table, resized.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.attention import Shared
from ..common.blocks import Block
from ..common.losses.semantic import semantic_head
from ..common.quantize import VQ, Quantized, Quantizer
from .base import Reconstruction
from .detail import group_causal
from .detailflow_config import DetailFlowConfig
from .detailflow_released import SIGLIP
from .vit1d import ViTSize

EPS = 1e-6
SEMANTIC = 1024
"""Width between the first code and the features that it is to tell, as published."""


class Seen(NamedTuple):
    """What the encoder has made of the patches: keys and values of all blocks but the last, whose input is `patches`."""

    caches: list[Shared]
    patches: Tensor  # [B, P, W]


class Corrected(NamedTuple):
    """Codes with a wrong piece, and what the encoder writes after it.

    input: ids [B, K], the wrong piece in place; label: ids [B, K] that belong at each place: the true codes up to the
    piece's end, then the new ones; z_q: [B, K, D] of `input`, with gradient to the new ones; losses: of the new ones.
    """

    input: Tensor
    label: Tensor
    z_q: Tensor
    losses: dict[str, Tensor]


class _Half(nn.Module):
    """What both halves have: the table of positions, the blocks and the norm behind them."""

    def __init__(self, config: DetailFlowConfig, size: ViTSize, hidden: int) -> None:
        super().__init__()
        self.config, self.width = config, size.width
        self.place = self.learned((config.size // config.patch) ** 2)
        self.latent_place = self.learned(config.tokens)
        self.blocks = nn.ModuleList(
            Block(size.width, size.heads, hidden=hidden or 4 * size.width, mlp="gelu_tanh", eps=EPS)
            for _ in range(size.layers)
        )
        self.norm_out = nn.LayerNorm(size.width, eps=EPS)

    def learned(self, count: int) -> nn.Parameter:
        """`count` learned tokens [count, W]."""
        return nn.Parameter(torch.randn(count, self.width) * self.config.start)

    def places(self, rows: int) -> Tensor:
        """The positions [rows * rows, W] of a square of patches, resized from the table."""
        own = self.config.size // self.config.patch
        if rows == own:
            return self.place
        table = rearrange(self.place, "(h w) c -> 1 c h w", h=own)
        table = F.interpolate(table, size=(rows, rows), mode="bilinear", align_corners=False, antialias=True)
        return rearrange(table, "1 c h w -> (h w) c")


class Encoder(_Half):
    """Pictures to latents."""

    def __init__(self, config: DetailFlowConfig) -> None:
        super().__init__(config, config.encoder, config.hidden)
        self.embed = nn.Linear(3 * config.patch**2, self.width)
        self.latents = self.learned(config.tokens)
        self.refined = self.learned(config.tokens)

    def forward(self, pictures: Tensor, count: int | None = None) -> Tensor:
        """Pictures [B, 3, S, S] -> the first `count` latents [B, count, W], or all."""
        return self.read(self.see(pictures), count)

    def see(self, pictures: Tensor) -> Seen:
        """The patches of pictures [B, 3, S, S], which see nothing but each other.

        Raises:
            ValueError: pictures of another size.
        """
        size, side = self.config.size, self.config.patch
        if pictures.shape[1:] != (3, size, size):
            raise ValueError(
                f"pictures of shape {list(pictures.shape[1:])}: this network was built for [3, {size}, {size}]"
            )
        x = self.embed(rearrange(pictures, "b c (h p) (w q) -> b (h w) (p q c)", p=side, q=side))
        x = x + self.places(size // side)
        caches = [Shared() for _ in self.blocks[:-1]]
        for block, cache in zip(self.blocks[:-1], caches, strict=True):
            x = block(x, cache=cache)
        return Seen(caches, x)

    def read(self, seen: Seen, count: int | None = None, known: Tensor | None = None) -> Tensor:
        """The first `count` latents [B, count, W], or all.

        `known` [B, n, W] stands for codes that are already there: latents after them begin as refined ones.
        """
        patches, count = seen.patches, count or self.config.tokens
        begun = 0 if known is None else known.shape[1]
        x = (self.latents if known is None else self.refined)[begun:count].expand(len(patches), -1, -1)
        if known is not None:
            x = torch.cat([known.to(x.dtype), x], dim=1)
        x = x + self.latent_place[:count]
        mask = group_causal(count, self.config.group, patches.shape[1]).to(x.device)
        for block, cache in zip(self.blocks[:-1], seen.caches, strict=True):
            x = block(x, mask=mask, cache=cache)
        both = torch.cat(
            [patches, x.to(patches.dtype)], dim=1
        )  # of the last block patches give keys and values alone
        last = slice(patches.shape[1], both.shape[1])
        out: Tensor = self.norm_out(self.blocks[-1](both, mask=mask, read=last))
        return out


class Decoder(_Half):
    """Latents to pictures."""

    def __init__(self, config: DetailFlowConfig) -> None:
        super().__init__(config, config.decoder, 0)
        self.mask = self.learned(1)
        self.to_pixels = nn.Linear(self.width, 3 * config.patch**2)

    def forward(self, latents: Tensor, side: int) -> Tensor:
        """Latents [B, k, W] -> pictures [B, 3, side, side]."""
        patch = self.config.patch
        rows = side // patch
        masks = (self.mask + self.places(rows)).expand(len(latents), -1, -1)
        x = torch.cat([masks, latents + self.latent_place[: latents.shape[1]]], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        x = self.norm_out(self.blocks[-1](x, read=slice(0, rows * rows)))
        pictures: Tensor = rearrange(
            self.to_pixels(x), "b (h w) (p q c) -> b c (h p) (w q)", h=rows, p=patch, q=patch
        )
        return pictures


class DetailFlowNet(nn.Module):
    """Encoder, quantizer, decoder; training (sections 3.2 to 3.4 of the paper) is in `forward`."""

    cheap_prefix = True

    def __init__(self, config: DetailFlowConfig) -> None:
        super().__init__()
        self.config, self.detail = config, config.detail
        self.quantizer: Quantizer = config.quantizer.build(config.tokens)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.to_code = nn.Linear(config.encoder.width, self.quantizer.inputs)
        self.refine = nn.Linear(self.quantizer.dim, config.encoder.width)
        self.from_code = nn.Linear(self.quantizer.dim, config.decoder.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # as SigLIP begins
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.semantic: nn.Module | None = None
        if config.semantic:
            self.semantic = semantic_head(self.quantizer.dim, config.semantic, inner=SEMANTIC)

    def ours(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first layers of SigLIP 2's vision model, from its Hugging Face folder, as the encoder; our names stay."""
        if not any(".self_attn." in key for key in state):
            return state
        layers = {f"encoder.blocks.{i}." for i in range(self.config.encoder.layers)}
        return {
            key: tensor
            for key, tensor in SIGLIP.ours(state).items()
            if not key.startswith("encoder.blocks.") or any(key.startswith(layer) for layer in layers)
        }

    def encode(self, pictures: Tensor, count: int | None = None) -> Tensor:
        """Pictures [B, 3, S, S] -> the first `count` latents [B, count, C], or all, not yet quantised."""
        z: Tensor = self.to_code(self.encoder(pictures, count))
        return z

    def decode(self, z_q: Tensor, side: int | None = None) -> Tensor:
        """The first k quantised latents [B, k, D] -> pictures [B, 3, s, s]; s follows from k, if it is not given.

        Raises:
            ValueError: a side that is no multiple of the patch.
        """
        side = self.detail.side(z_q.shape[1]) if side is None else side
        if side < 1 or side % self.config.patch:
            raise ValueError(f"a picture of side {side}: give a multiple of the patch, {self.config.patch}")
        pictures: Tensor = self.decoder(self.from_code(z_q), side)
        return pictures

    def forward(self, pictures: Tensor) -> Reconstruction:
        """What training compares, of pictures [B, 3, S, S] in the network's range.

        Now and then (`degraded`) only some first codes are decoded, for as much of the picture as they are to hold. And
        where codes are made wrong and corrected (`corrected`), the pictures come twice: from the true codes, then from
        the wrong ones and those written after them. Feature "semantic" [B, 1, width]: what the first code tells.
        """
        count, wanted = self.config.tokens, pictures
        if self.training and bool(torch.rand(()) < self.config.degraded):
            count = self._fewer()
            wanted = self.detail.degraded(pictures, count)
        seen = self.encoder.see(pictures)
        z = self.to_code(self.encoder.read(seen))
        quantized = self.quantizer(z)
        z_q, losses = quantized.z_q, dict(quantized.losses)
        if self.training and self.config.corrected and count > 1:
            piece = self._piece(count)
            again = self.correct(seen, z, quantized, piece)
            z_q, wanted = torch.cat([z_q, again.z_q]), torch.cat([wanted, wanted])
            fresh = self.config.tokens - piece.stop  # every code that was chosen counts alike
            share = fresh / (self.config.tokens + fresh)
            losses = {name: (1 - share) * loss + share * again.losses[name] for name, loss in losses.items()}
        made = self.decode(z_q[:, :count], wanted.shape[-1])
        features = {} if self.semantic is None else {"semantic": self.semantic(quantized.z_q[:, :1])}
        return Reconstruction(made, Quantized(z_q, quantized.ids, losses), features, wanted)

    def correct(self, seen: Seen, z: Tensor, quantized: Quantized, piece: slice) -> Corrected:
        """Make a piece of the codes wrong, each a random one of the nearest, and write what follows it anew.

        Args:
            seen: what the encoder made of the patches.
            z: the latents [B, K, C].
            quantized: the codes of all latents.
            piece: the places that become wrong: one of the first group, or a whole later group.
        """
        assert isinstance(self.quantizer, VQ)
        assert quantized.ids is not None
        near = self.quantizer.nearest(z[:, piece].detach(), self.config.nearest)  # [B, n, nearest]
        pick = torch.randint(near.shape[-1], (*near.shape[:2], 1)).to(near.device)
        ids = torch.cat([quantized.ids[:, : piece.start], near.gather(-1, pick).squeeze(-1)], dim=1)
        known = self.quantizer.lookup(ids).detach()
        again = self.to_code(self.encoder.read(seen, known=self.refine(known)))
        fresh = self.quantizer(again[:, piece.stop :])
        assert fresh.ids is not None
        return Corrected(
            torch.cat([ids, fresh.ids], dim=1),
            torch.cat([quantized.ids[:, : piece.stop], fresh.ids], dim=1),
            torch.cat([known.to(fresh.z_q.dtype), fresh.z_q], dim=1),
            fresh.losses,
        )

    @torch.no_grad()
    def triples(self, pictures: Tensor) -> Tensor:
        """Codes to train a generator on, int64 [B, K, 3]: the true ones, those with a wrong piece, what belongs there.

        See `Corrected`; places and wrong codes are drawn from torch's generator, one piece for each picture.
        """
        found = torch.zeros(len(pictures), self.config.tokens, 3, dtype=torch.long)
        pieces = [self._piece(self.config.tokens) for _ in pictures]
        for piece in sorted({(p.start, p.stop) for p in pieces}):
            rows = [row for row, p in enumerate(pieces) if (p.start, p.stop) == piece]
            seen = self.encoder.see(pictures[rows])
            z = self.to_code(self.encoder.read(seen))
            quantized = self.quantizer(z)
            made = self.correct(seen, z, quantized, slice(*piece))
            assert quantized.ids is not None
            found[rows] = torch.stack([quantized.ids, made.input, made.label], dim=-1).cpu()
        return found

    def _fewer(self) -> int:
        """How many codes a degraded step decodes: at most all but a group, in whole groups from the second on."""
        tokens, group = self.config.tokens, self.config.group
        count = int(torch.randint(1, max(2, tokens - group + 1), ()))
        return count if count <= group else -(-count // group) * group

    def _piece(self, count: int) -> slice:
        """Places, of the first `count`, whose codes become wrong: one of the first group, or a whole later group."""
        group = self.config.group
        first = int(torch.randint(count if count <= group else count - group, ()))
        if first < group:
            return slice(first, first + 1)
        first = first // group * group
        return slice(first, first + group)
