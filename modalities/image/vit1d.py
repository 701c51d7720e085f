"""The 1D vision transformer: an encoder that reads out K latent tokens, a decoder that paints from them.

    Encoder(config, channels)(pictures [B, 3, S, S]) -> latents [B, K, channels]
    Decoder(config, channels)(latents [B, K, channels]) -> tokens of the patches [B, N, W], then a head

TiTok (Yu et al., arXiv:2406.07550), TA-TiTok (Kim et al., arXiv:2501.07730) and FlowTok's tokenizer (He et
al., arXiv:2503.10772) are this with different switches, and so is our small preset. Encoder tokens are
[class token], patches, latents; decoder tokens [class token], one mask token for each patch, latents,
[text]. In the two, class token and absolute positions go together with patches and masks; with rotary
positions patches and masks turn by their cell and have no table.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from unitok.strict import Strict

from ..common.blocks import TOKEN_STD, Transformer, init_linear
from ..common.positions import Turn, angles, grid

TEXT_WIDTH = 768
"""Of CLIP ViT-L/14's text states, which guide TA-TiTok."""


class ViTSize(Strict):
    """Width, blocks and heads of one transformer."""

    width: int = Field(128, ge=1)
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)


SIZES = {
    "small": ViTSize(width=512, layers=8, heads=8),
    "base": ViTSize(width=768, layers=12, heads=12),
    "large": ViTSize(width=1024, layers=24, heads=16),
}


class ViT1DConfig(Strict):
    """The switches that encoder and decoder share."""

    size: int = Field(256, ge=1, description="side of the pictures in pixels")
    patch: int = Field(16, ge=1, description="side of a patch; divides size")
    tokens: int = Field(32, ge=1, description="latents of a picture")
    encoder: ViTSize = SIZES["base"]
    decoder: ViTSize = SIZES["base"]
    cls: bool = Field(True, description="a class token before the patches")
    place: Literal["absolute", "rope"] = Field("absolute", description="positions of patches and masks")
    mlp: Literal["gelu", "swiglu"] = "gelu"
    head: Literal["pixel", "smooth", "proxy"] = Field(
        "smooth", description="pixels; pixels and a 3 x 3 convolution; logits over VQGAN codes"
    )
    legacy: bool = Field(False, description="latents reshaped, not transposed, as the paper's checkpoints do")
    text: int = Field(0, ge=0, description="text tokens that guide the decoder; 77 in TA-TiTok")
    shift: float = Field(0.0, description="taken from every pixel before the patches are embedded")
    start: Literal["wide", "published"] = Field("wide", description="spread of learned tokens at the start")

    @property
    def side(self) -> int:
        """Patches in a row."""
        return self.size // self.patch

    @property
    def token_std(self) -> float:
        """Standard deviation of learned tokens at the start; 0: that of the paper, width ** -0.5."""
        return TOKEN_STD if self.start == "wide" else 0.0


class _Half(nn.Module):
    """What both halves have: class token, positions, the transformer and the turning of its heads."""

    def __init__(self, config: ViT1DConfig, size: ViTSize) -> None:
        super().__init__()
        if config.size % config.patch:
            raise ValueError(f"patch {config.patch} does not divide the picture side {config.size}")
        self.config, self.width, self.patches = config, size.width, config.side**2
        self.cls = self.learned(1) if config.cls else None
        count = self.patches + config.cls
        self.place = self.learned(count) if config.place == "absolute" else None
        self.latent_place = self.learned(config.tokens)
        hidden = int(2 / 3 * 4 * size.width) if config.mlp == "swiglu" else None
        self.body = Transformer(size.width, size.layers, size.heads, mlp=config.mlp, hidden=hidden)
        self.head_dim = size.width // size.heads

    def learned(self, count: int) -> nn.Parameter:
        """`count` learned tokens [count, W]."""
        std = self.config.token_std or self.width**-0.5
        return nn.Parameter(torch.randn(count, self.width) * std)

    def patched(self, tokens: Tensor) -> Tensor:
        """Tokens of patches or masks [B, N, W] with the class token before and positions added."""
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(tokens), 1, -1), tokens], dim=1)
        return tokens if self.place is None else tokens + self.place

    def turn(self) -> Turn | None:
        """The rotation of patches and masks by their cells, where positions are rotary."""
        if self.config.place == "absolute":
            return None
        return Turn(
            angles(grid(self.config.side, self.config.side), (self.head_dim // 2, self.head_dim // 2))
        )

    @property
    def first(self) -> int:
        """Tokens before those of the patches."""
        return 0 if self.cls is None else 1


class Encoder(_Half):
    """Pictures to latents."""

    def __init__(self, config: ViT1DConfig, channels: int) -> None:
        super().__init__(config, config.encoder)
        self.embed = nn.Conv2d(3, self.width, config.patch, stride=config.patch)
        self.latents = self.learned(config.tokens)
        self.out = nn.Linear(self.width, channels)
        init_linear(self.embed)
        nn.init.normal_(self.out.weight, std=self.width**-0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] -> [B, K, channels].

        Raises:
            ValueError: pictures of another size.
        """
        size = self.config.size
        if pictures.shape[1:] != (3, size, size):
            raise ValueError(
                f"pictures of shape {list(pictures.shape[1:])}: this network was built for [3, {size}, {size}]"
            )
        patches = rearrange(self.embed(pictures - self.config.shift), "b w h v -> b (h v) w")
        latents = (self.latents + self.latent_place).expand(len(patches), -1, -1)
        x = torch.cat([self.patched(patches), latents], dim=1)
        count = x.shape[1]
        x = self.body(x, turn=self.turn(), read=slice(count - self.config.tokens, count))  # [B, K, W]
        if self.config.legacy:  # the released checkpoints were trained with this scrambling
            x = x.reshape(len(x), self.width, self.config.tokens).transpose(1, 2)
        out: Tensor = self.out(x)
        return out


class Decoder(_Half):
    """Latents to the tokens of the patches."""

    def __init__(self, config: ViT1DConfig, channels: int) -> None:
        super().__init__(config, config.decoder)
        self.embed = nn.Linear(channels, self.width)
        self.mask = nn.Parameter(torch.zeros(self.width))
        init_linear(self.embed)
        if config.text:
            self.text_embed = nn.Linear(TEXT_WIDTH, self.width)
            self.text_place = self.learned(config.text)
            init_linear(self.text_embed)

    def forward(self, latents: Tensor, text: Tensor | None = None, paint: Tensor | None = None) -> Tensor:
        """Latents [B, k, channels], k <= K -> patches [B, N, W].

        Args:
            latents: quantised.
            text: states of the caption [B, 77, 768], for networks with text guidance.
            paint: added to the mask tokens [B, N, W].

        Raises:
            ValueError: a network with text guidance without text, or the other way round, or of another shape.
        """
        wanted = self.config.text
        if (text is not None) != bool(wanted) or (
            text is not None and text.shape[1:] != (wanted, TEXT_WIDTH)
        ):
            got = "none was given" if text is None else f"{list(text.shape)} was given"
            need = f"states [B, {wanted}, {TEXT_WIDTH}] of the captions" if wanted else "no text"
            raise ValueError(f"this decoder takes {need}, but {got}: see the option text")
        masks = self.mask.expand(len(latents), self.patches, -1)
        codes = self.embed(latents) + self.latent_place[: latents.shape[1]]
        parts = [self.patched(masks if paint is None else masks + paint), codes]
        if text is not None:
            parts.append(self.text_embed(text.to(codes.dtype)) + self.text_place)
        x = torch.cat(parts, dim=1)
        out: Tensor = self.body(x, turn=self.turn(), read=slice(self.first, self.first + self.patches))
        return out
