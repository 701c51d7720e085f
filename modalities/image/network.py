"""TiTok's network: a ViT encoder that reads out K latent tokens, a quantizer, a ViT decoder.

    pictures [B, 3, S, S] -> encode -> latents z [B, K, D] -> quantizer -> z_q -> decode -> pictures

After Yu et al., An Image is Worth 32 Tokens, arXiv:2406.07550, in its one-stage form with a pixel head:
encoder tokens are the patches and then K learned latents, and the latents' outputs are projected to D; the
decoder's tokens are one mask token for each patch and then the quantised latents, and the mask tokens'
outputs are projected to pixels. The optional linear path (`modalities.image.linear`) is ours: both
transformers then correct it, the encoder in units of each latent's spread, the decoder with the linear
picture's patches added to its mask tokens.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from unitok.strict import Strict

from ..common.blocks import Tokens, Transformer, init_linear
from ..common.quantize import Quantizer, build_quantizer
from ..common.training import Step
from .linear import LinearPath


class TiTokConfig(Strict):
    """Everything that builds the network. The defaults are the small preset at 64 pixels."""

    size: int = Field(64, description="side of the pictures in pixels")
    patch: int = Field(8, description="side of a patch; divides size")
    tokens: int = Field(32, ge=1, description="codes of a picture")
    width: int = 128
    encoder_layers: int = Field(2, ge=1)
    decoder_layers: int = Field(3, ge=1)
    heads: int = 4
    quantizer: Literal["vq", "fsq", "binary"] = "vq"
    codes: int = Field(256, description="vq: size of a codebook")
    dim: int = Field(16, description="vq: channels of a code")
    own_codebooks: bool = Field(False, description="vq: one codebook for each token (a product code)")
    decay: float = Field(0.99, gt=0, lt=1, description="vq: of the codebook's running averages")
    rate: float = Field(0.0, ge=0, description="vq: price of a nat, in squared latent distance")
    l2: bool = Field(False, description="vq: compare on the unit sphere")
    levels: tuple[int, ...] = Field((8, 6, 5), description="fsq: levels of each channel")
    bits: int = Field(8, description="binary: bits of a token; over 8 they become parts of 8")
    linear: Literal["pca"] | None = Field(None, description="the linear path; TiTok as published has none")
    components: int = Field(192, description="linear path: principal components")
    reduced: int = Field(32, description="linear path: side of the reduced picture; divides size")


class TiTokNet(nn.Module):
    """Encoder, quantizer and decoder; `forward` gives the training loss."""

    def __init__(self, config: TiTokConfig) -> None:
        super().__init__()
        if config.size % config.patch:
            raise ValueError(f"patch {config.patch} does not divide the picture side {config.size}")
        self.config = config
        books = config.tokens if config.own_codebooks else 1
        options: dict[str, dict[str, Any]] = {
            "vq": {"size": config.codes, "dim": config.dim, "books": books, "l2": config.l2}
            | {"decay": config.decay, "rate": config.rate},
            "fsq": {"levels": config.levels},
            "binary": {"bits": config.bits},
        }
        self.quantizer: Quantizer = build_quantizer(config.quantizer, **options[config.quantizer])
        width, dim, grid = config.width, self.quantizer.dim, (config.size // config.patch) ** 2
        pixels = 3 * config.patch**2
        self.patch_embed = nn.Linear(pixels, width)
        self.encoder_position = Tokens(grid, width)
        self.latents = Tokens(config.tokens, width)
        self.encoder = Transformer(width, config.encoder_layers, config.heads)
        self.to_code = nn.Linear(width, dim)
        self.from_code = nn.Linear(dim, width)
        self.masks = Tokens(grid, width)
        self.decoder_position = Tokens(config.tokens, width)
        self.decoder = Transformer(width, config.decoder_layers, config.heads)
        self.to_pixels = nn.Linear(width, pixels)
        for layer in (self.patch_embed, self.to_code, self.from_code, self.to_pixels):
            init_linear(layer)
        self.linear: LinearPath | None = None
        if config.linear == "pca":
            self.linear = LinearPath(config.size, config.reduced, config.tokens, dim, config.components)
            self.linear_embed = nn.Linear(pixels, width)
            init_linear(self.linear_embed)
            nn.init.zeros_(self.to_code.weight)
            nn.init.zeros_(self.to_pixels.weight)
        else:
            nn.init.normal_(self.to_code.weight, std=width**-0.5)
            nn.init.constant_(self.to_pixels.bias, 0.5)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] -> latents [B, K, D], not yet quantised."""
        patches = self._patches(pictures)
        grid = self.patch_embed(patches - 0.5) + self.encoder_position(len(patches))
        x = self.encoder(torch.cat([grid, self.latents(len(patches))], dim=1))  # [B, grid + K, W]
        z: Tensor = self.to_code(x[:, grid.shape[1] :])
        return z if self.linear is None else z * self.linear.spread + self.linear.encode(pictures)

    def decode(self, z_q: Tensor) -> Tensor:
        """Quantised latents [B, K, D] -> pictures [B, 3, S, S], not clamped."""
        if self.linear is None:
            return self._unpatch(self._decode(z_q, self.masks(len(z_q))))
        coarse = self.linear.decode(z_q)
        queries = self.masks(len(z_q)) + self.linear_embed(self._patches(coarse) - 0.5)
        return coarse + self._unpatch(self._decode(z_q / self.linear.spread, queries))

    def _decode(self, z_q: Tensor, queries: Tensor) -> Tensor:
        """Patches [B, grid, 3 * patch ** 2] from latents [B, K, D] and the tokens that ask for them."""
        codes = self.from_code(z_q) + self.decoder_position(len(z_q))
        x = self.decoder(torch.cat([queries, codes], dim=1))[:, : queries.shape[1]]
        patches: Tensor = self.to_pixels(x)
        return patches

    def forward(self, pictures: Tensor) -> Step:
        """The training loss on pictures [B, 3, S, S]: mean squared error and the quantizer's own."""
        quantized = self.quantizer(self.encode(pictures))
        error = F.mse_loss(self.decode(quantized.z_q), pictures)
        return Step(error + quantized.loss, quantized.ids, {"mse": error.detach()})

    def _patches(self, pictures: Tensor) -> Tensor:
        side = self.config.patch
        return rearrange(pictures, "b c (h p) (w q) -> b (h w) (p q c)", p=side, q=side)

    def _unpatch(self, patches: Tensor) -> Tensor:
        side, rows = self.config.patch, self.config.size // self.config.patch
        return rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=rows, p=side, q=side, c=3)
