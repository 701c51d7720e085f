"""Picture autoencoders in whose latents another network works: convolutional (latent diffusion's) or linear.

    vae = ConvVAEConfig(latents=16).build()
    latents = vae.encode(pictures [B, 3, H, W])            # [B, C, H / f, W / f]
    pictures = vae.decode(latents)

`ConvVAE` is the AutoencoderKL of Rombach et al., arXiv:2112.10752, in the layout of the diffusers library: FlexTok's
files hold one with 4, 8 or 16 channels. Its latent is the mean of the posterior, the same each time, or with `noise` a
sample of it. `LinearVAE` takes its place where there are no such weights: principal components of patches, which cost
nothing and are fitted in seconds. With as many components as a patch has numbers it is the picture itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from unitok.strict import Strict

from ..common.keys import Fuse, KeyMap, Rename
from ..common.quantize import KL
from .conv import ConvDecoder, ConvEncoder

SLICE = 4
"""Pictures that go through the convolutions at once outside training: their maps are large, and stay in caches."""

KEYS = KeyMap(
    Rename(r"\.(?:down|up)_blocks\.(\d+)\.resnets\.(\d+)\.", r".levels.\1.\2."),
    Rename(r"\.mid_block\.resnets\.(\d)\.", r".middle.\1."),
    Rename(r"\.(norm|conv)([12])\.", r".\1_\2."),
    Rename(r"\.conv_shortcut\.", ".shortcut."),
    Rename(r"\.down_blocks\.(\d+)\.downsamplers\.0\.conv\.", r".halves.\1."),
    Rename(r"\.up_blocks\.(\d+)\.upsamplers\.0\.conv\.", r".doubles.\1."),
    Rename(r"\.mid_block\.attentions\.0\.group_norm\.", ".attention.norm."),
    Rename(r"\.mid_block\.attentions\.0\.", ".attention.attn."),
    Rename(r"\.attn\.query\.", ".attn.to_q."),  # names of files before 2023
    Rename(r"\.attn\.key\.", ".attn.to_k."),
    Rename(r"\.attn\.value\.", ".attn.to_v."),
    Fuse(r"\.attn\.to_{}\.", ("q", "k", "v"), ".attn.qkv."),
    Rename(r"\.attn\.(?:to_out\.0|proj_attn)\.", ".attn.out."),
    Rename(r"\.conv_norm_out\.", ".norm_out."),
    Rename(r"(^|\.)quant_conv\.", r"\1to_posterior."),
    Rename(r"(^|\.)post_quant_conv\.", r"\1from_latents."),
)
"""Names of diffusers' AutoencoderKL to ours."""


class ConvVAEConfig(Strict):
    """Fields of `ConvVAE`."""

    kind: Literal["conv"] = "conv"
    channels: tuple[int, ...] = Field(
        (128, 256, 512, 512), min_length=1, description="of the maps at each level; multiples of 32"
    )
    blocks: int = Field(2, ge=1, description="residual blocks at each level; the decoder has one more")
    latents: int = Field(16, ge=1, description="channels of the latents")

    @property
    def factor(self) -> int:
        """Pixels that one latent stands for, in each direction."""
        return int(2 ** (len(self.channels) - 1))

    def build(self) -> ConvVAE:
        """The network, at random."""
        return ConvVAE(self)


class LinearVAEConfig(Strict):
    """Fields of `LinearVAE`."""

    kind: Literal["linear"] = "linear"
    patch: int = Field(8, ge=1, description="side of a patch in pixels")
    latents: int = Field(16, ge=1, description="components of a patch that are kept, at most 3 patch ** 2")
    whiten: float = Field(
        0.5, ge=0, le=1, description="1: components of equal spread; 0: of that which they have in pictures"
    )

    @property
    def factor(self) -> int:
        """Pixels that one latent stands for, in each direction."""
        return self.patch

    def build(self) -> LinearVAE:
        """The layers, with the first components of a cosine transform until `fit` has seen pictures."""
        return LinearVAE(self)


VAEConfig = Annotated[ConvVAEConfig | LinearVAEConfig, Field(discriminator="kind")]


class ConvVAE(nn.Module):
    """Latent diffusion's autoencoder; see the module's first lines."""

    def __init__(self, config: ConvVAEConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.encoder = ConvEncoder(2 * c.latents, c.channels, c.blocks, attention=True)
        self.to_posterior = nn.Conv2d(2 * c.latents, 2 * c.latents, 1)
        self.from_latents = nn.Conv2d(c.latents, c.latents, 1)
        self.decoder = ConvDecoder(c.latents, c.channels, c.blocks + 1, attention=True, styled=False)

    def encode(self, pictures: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pictures [B, 3, H, W] -> latents [B, C, H / f, W / f]: the posterior's mean.

        With `noise`, standard normal and of the latents' shape or [C, h, w], a sample of the posterior instead.
        """
        found = []
        for part in self._slices(pictures):
            moments = self.to_posterior(self.encoder(part))
            mean, log = KL.moments(moments, dim=1)
            found.append(mean)
            if noise is not None:
                at = sum(map(len, found[:-1]))
                drawn = noise if noise.dim() == 3 else noise[at : at + len(part)]
                found[-1] = mean + (0.5 * log).exp() * drawn
        return torch.cat(found)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] -> pictures [B, 3, f h, f w]."""
        return torch.cat([self.decoder(self.from_latents(part)) for part in self._slices(latents)])

    def _slices(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,) if torch.is_grad_enabled() and self.training else x.split(SLICE)


class LinearVAE(nn.Module):
    """Principal components of patches, always in fp32; pictures may have values from -1 to 1 as well as from 0 to 1."""

    mean: Tensor  # [3 p p]
    basis: Tensor  # [C, 3 p p], rows at right angles and of length one
    spread: Tensor  # [C], what the components are divided by

    def __init__(self, config: LinearVAEConfig) -> None:
        super().__init__()
        self.config = config
        size = 3 * config.patch**2
        if config.latents > size:
            raise ValueError(
                f"{config.latents} components of patches with {size} numbers: keep at most as many as there are"
            )
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", _cosines(config.patch)[: config.latents])
        self.register_buffer("spread", torch.full((config.latents,), float(config.patch)))

    @torch.no_grad()
    def fit(self, pictures: Iterable[Tensor]) -> None:
        """Take mean, components and their spread from pictures [n, 3, H, W] in the network's range, in parts."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for part in pictures:
            rows = rearrange(self._patches(part), "b h w c -> (b h w) c").double()
            count, total, squares = count + len(rows), total + rows.sum(0), squares + rows.T @ rows
        if not count:
            raise ValueError("components of no pictures: give at least one")
        mean = total / count
        variance, basis = torch.linalg.eigh(squares / count - torch.outer(mean, mean))  # rising
        kept = self.config.latents
        spread = variance.flip(0)[:kept].clamp(min=1e-12).sqrt()
        wanted = spread**self.config.whiten
        wanted = wanted * (spread / wanted).square().mean().sqrt()  # latents of unit variance, on the whole
        self.mean.copy_(mean)
        self.basis.copy_(basis.flip(1)[:, :kept].T)
        self.spread.copy_(wanted)

    def encode(self, pictures: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pictures [B, 3, H, W] -> latents [B, C, H / p, W / p]; `noise` has no say, for nothing is uncertain."""
        with torch.autocast(pictures.device.type, enabled=False):
            found = (self._patches(pictures.float()) - self.mean) @ self.basis.T / self.spread
        return found.movedim(-1, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] -> pictures [B, 3, p h, p w]."""
        with torch.autocast(latents.device.type, enabled=False):
            patches = (latents.float().movedim(1, -1) * self.spread) @ self.basis + self.mean
        side = self.config.patch
        return rearrange(patches, "b h w (c p q) -> b c (h p) (w q)", p=side, q=side)

    def _patches(self, pictures: Tensor) -> Tensor:
        side = self.config.patch
        return rearrange(pictures, "b c (h p) (w q) -> b h w (c p q)", p=side, q=side)


def _cosines(side: int) -> Tensor:
    """An orthonormal basis of patches [3 side side, 3 side side]: cosines of rising frequency, each for three colours."""
    places = torch.arange(side, dtype=torch.float64) + 0.5
    waves = torch.cos(torch.pi / side * torch.arange(side).unsqueeze(1) * places)  # [frequency, place]
    waves = waves / waves.norm(dim=1, keepdim=True)
    both = rearrange(torch.einsum("fp,gq->fgpq", waves, waves), "f g p q -> (f g) (p q)")
    rising = (torch.arange(side).unsqueeze(1) + torch.arange(side)).flatten().argsort(stable=True)
    grid = torch.einsum("nd,ck->nckd", both[rising], torch.eye(3, dtype=torch.float64))
    return rearrange(grid, "n c k d -> (n c) (k d)").float()
