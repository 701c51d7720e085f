"""The network of Instella-T2I: a picture of any size as K vectors of bits, and back.

    Encoder(config)(pictures [B, 3, H, W]) -> latents [B, K, E]         H, W multiples of 2 * patch
    Decoder(config)(latents [B, K, E], h, w) -> patches [B, h * w, W]   h, w even

Instella-T2I, arXiv:2506.21022. Both halves are transformers over K latents and the patches of the picture,
with RMS norms, SwiGLU and rotary positions on three axes (latent, row, column). The encoder halves the grid
of patches on its way, the decoder starts on the halved grid and doubles it, in the blocks of DC-AE (Chen et
al., arXiv:2410.10733): a convolution beside an average, a convolution beside a copy.
"""

from __future__ import annotations

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.attention import norm
from ..common.blocks import TOKEN_STD, Block
from ..common.positions import Turn, angles, grid
from ..common.quantize import Quantizer
from ..common.quantize.config import BinaryConfig, QuantizerConfig
from .base import ImageConfig, Reconstruction
from .vit1d import ViTSize

EPS = 1e-6


class InstellaConfig(ImageConfig):
    """Everything that builds the network. `size` and `scale` change no weights, but they change the codes."""

    size: int = Field(256, ge=1, description="side of the pictures in pixels; a multiple of twice the patch")
    tokens: int = Field(128, ge=1, description="latents of a picture")
    range: tuple[float, float] = (-1.0, 1.0)
    patch: int = Field(16, ge=1, description="side of a patch")
    encoder: ViTSize = ViTSize(width=768, layers=12, heads=12)
    decoder: ViTSize = ViTSize(width=1024, layers=16, heads=16)
    fold: int = Field(8, ge=1, description="encoder blocks before the grid is halved")
    unfold: int = Field(8, ge=1, description="decoder blocks before the grid is doubled")
    axes: tuple[int, int, int] = Field(
        (8, 28, 28), description="channels of a head that latent, row and column turn; their sum is a head"
    )
    scale: int | None = Field(
        None,
        ge=1,
        description="side in pixels over which positions are spread, whatever the size; none: by patch",
    )
    rotation: bool = Field(
        True, description="turn in pairs; the released weights deal angles to other pairs than they turn"
    )
    start: float = Field(TOKEN_STD, gt=0, description="standard deviation of learned tokens at the start")
    quantizer: QuantizerConfig = BinaryConfig(bits=64, form="bernoulli")


class _Half(nn.Module):
    """What both halves have: the blocks, and the turning of their heads."""

    def __init__(self, config: InstellaConfig, size: ViTSize, switch: int) -> None:
        super().__init__()
        if sum(config.axes) * size.heads != size.width:
            raise ValueError(
                f"axes {list(config.axes)} for heads of {size.width // size.heads} channels: let them sum to that"
            )
        if not switch < size.layers:
            raise ValueError(f"the grid cannot change after block {switch} of {size.layers}: choose less")
        self.config, self.width, self.switch = config, size.width, switch
        self.blocks = nn.ModuleList(
            Block(
                size.width, size.heads, mlp="swiglu", norm_kind="rms", eps=EPS, bias=False, qk_norm="rms"
            )
            for _ in range(size.layers)
        )  # fmt: skip
        self.norm = norm("rms", size.width, EPS)

    def turn(self, latents: int, rows: int, columns: int, scale: float | None, like: Tensor) -> Turn:
        """The turning of latents at (k, 0, 0), then patches at (0, row, column).

        With a scale the patches lie between 0 and scale - 1, however many there are.
        """
        places = grid(rows, columns)
        if scale is not None:
            places = places / torch.tensor([max(rows - 1, 1), max(columns - 1, 1)]) * (scale - 1)
        numbers = torch.arange(latents).unsqueeze(1).float()
        where = torch.cat([F.pad(numbers, (0, 2)), F.pad(places, (1, 0))])  # [K + h w, 3]
        found = angles(where.to(like.device), self.config.axes)
        return Turn(found) if self.config.rotation else Turn(found, pairs="halves", spread="neighbours")

    @property
    def scale(self) -> float | None:
        """The scale in patches of the full grid."""
        return None if self.config.scale is None else self.config.scale / self.config.patch


def _half(scale: float | None) -> float | None:
    """The scale of the halved grid, rounded down."""
    return None if scale is None else scale // 2


def _to_grid(tokens: Tensor, rows: int) -> Tensor:
    return rearrange(tokens, "b (h w) c -> b c h w", h=rows)


def _to_tokens(planes: Tensor) -> Tensor:
    return rearrange(planes, "b c h w -> b (h w) c")


class Encoder(_Half):
    """Pictures to latents."""

    def __init__(self, config: InstellaConfig) -> None:
        super().__init__(config, config.encoder, config.fold)
        self.embed = nn.Conv2d(3, self.width, config.patch, stride=config.patch)
        self.latents = nn.Parameter(torch.randn(config.tokens, self.width) * config.start)
        self.resize = nn.Conv2d(self.width, self.width, 3, stride=2, padding=1)
        self.out = nn.Linear(self.width, self.width)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] -> [B, K, E].

        Raises:
            ValueError: sides that are no multiples of twice the patch.
        """
        step = 2 * self.config.patch
        if pictures.dim() != 4 or pictures.shape[1] != 3 or any(side % step for side in pictures.shape[2:]):
            raise ValueError(
                f"pictures of shape {list(pictures.shape[1:])}: this network takes [3, H, W] with H and W "
                f"multiples of {step}"
            )
        planes = self.embed(pictures)
        rows, columns = planes.shape[2:]
        count, scale = self.config.tokens, self.scale
        x = torch.cat([self.latents.expand(len(planes), -1, -1), _to_tokens(planes)], dim=1)
        turn = self.turn(count, rows, columns, scale, x)
        for number, block in enumerate(self.blocks):
            if number == self.switch:
                planes = _to_grid(x[:, count:], rows)
                planes = self.resize(planes) + F.avg_pool2d(planes, 2)
                x = torch.cat([x[:, :count], _to_tokens(planes)], dim=1)
                rows, columns, scale = rows // 2, columns // 2, _half(scale)
                turn = self.turn(count, rows, columns, scale, x)
            last = number == len(self.blocks) - 1
            x = block(x, turn=turn, read=slice(0, count) if last else None)
        out: Tensor = self.out(self.norm(x))
        return out


class Decoder(_Half):
    """Latents to the patches of a picture."""

    def __init__(self, config: InstellaConfig) -> None:
        super().__init__(config, config.decoder, config.unfold)
        self.norm_in = norm("rms", config.encoder.width, EPS)
        self.embed = nn.Linear(config.encoder.width, self.width)
        self.mask = nn.Parameter(torch.randn(self.width) * config.start)
        self.resize = nn.Conv2d(self.width, 4 * self.width, 3, padding=1)

    def forward(self, latents: Tensor, rows: int, columns: int) -> Tensor:
        """Latents [B, K, E] -> patches [B, rows * columns, W]; rows and columns are even."""
        rows, columns, scale = rows // 2, columns // 2, _half(self.scale)
        count = latents.shape[1]
        masks = self.mask.expand(len(latents), rows * columns, -1)
        x = torch.cat([self.embed(self.norm_in(latents)), masks], dim=1)
        turn = self.turn(count, rows, columns, scale, x)
        for number, block in enumerate(self.blocks):
            if number == self.switch:
                planes = _to_grid(x[:, count:], rows)
                planes = F.pixel_shuffle(self.resize(planes), 2) + F.interpolate(planes, scale_factor=2)
                x = torch.cat([x[:, :count], _to_tokens(planes)], dim=1)
                rows, columns, scale = 2 * rows, 2 * columns, None if scale is None else 2 * scale
                turn = self.turn(count, rows, columns, scale, x)
            last = number == len(self.blocks) - 1
            x = block(x, turn=turn, read=slice(count, x.shape[1]) if last else None)
        out: Tensor = self.norm(x)
        return out


class InstellaNet(nn.Module):
    """Encoder, bits and decoder: `encode` gives the logits of the bits, `decode` takes the bits.

    `values` [D, E] are what the bits stand for: a latent is the sum of those whose bits are set.
    """

    def __init__(self, config: InstellaConfig) -> None:
        super().__init__()
        if config.size % (2 * config.patch):
            raise ValueError(
                f"pictures of {config.size} pixels with patches of {config.patch}: the side must be a "
                f"multiple of {2 * config.patch}"
            )
        self.config = config
        self.quantizer: Quantizer = config.quantizer.build(config.tokens)
        width = config.encoder.width
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.to_bits = nn.Linear(width, self.quantizer.inputs)
        self.values = nn.Parameter(torch.randn(self.quantizer.dim, width) * config.start)
        self.to_pixels = nn.Linear(config.decoder.width, 3 * config.patch**2)
        nn.init.normal_(self.to_pixels.weight, std=0.02)
        nn.init.zeros_(self.to_pixels.bias)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] -> logits of the bits [B, K, D]."""
        logits: Tensor = self.to_bits(self.encoder(pictures))
        return logits

    def decode(self, z_q: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Bits [B, K, D] -> pictures [B, 3, H, W], of the configuration's size or of height and width `size`.

        Raises:
            ValueError: a side that is no multiple of twice the patch.
        """
        height, width = size or (self.config.size, self.config.size)
        patch = self.config.patch
        if height % (2 * patch) or width % (2 * patch) or min(height, width) < 1:
            raise ValueError(f"a picture of {height} x {width}: give multiples of {2 * patch}")
        tokens = self.decoder(z_q.to(self.values.dtype) @ self.values, height // patch, width // patch)
        pictures: Tensor = rearrange(
            self.to_pixels(tokens),
            "b (h w) (p q c) -> b c (h p) (w q)",
            h=height // patch,
            p=patch,
            q=patch,
        )
        return pictures

    def forward(self, pictures: Tensor) -> Reconstruction:
        """What training compares with the pictures [B, 3, H, W]."""
        quantized = self.quantizer(self.encode(pictures))
        height, width = pictures.shape[2:]
        return Reconstruction(self.decode(quantized.z_q, (height, width)), quantized)
