"""The point tokenizer's network: patches, a transformer that fills latent queries, FSQ, a decoder to points.

    clouds [B, N, 3] -> encode -> values [B, K, D] in [-1, 1] -> FSQ -> decode -> clouds [B, P, 3]

Encoder tokens are patches of the cloud (farthest points, their neighbours, a small PointNet as in
Point-BERT, Yu et al., arXiv:2111.14819) and K latent queries; the queries' outputs are the latents. Decoder
tokens are the K codes and the patches of the sphere whose image the decoded cloud is. Both transformers only
correct the linear path (`modalities.pointcloud.linear`), and their corrections start at zero.
Training keeps a random prefix of the codes now and then (nested dropout, Rippel et al., arXiv:1402.0915), so
that every prefix decodes.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from unitok.strict import Strict

from ..common.blocks import Tokens, Transformer
from ..common.quantize import FSQ
from ..common.training import Step
from .chamfer import cd1
from .linear import TransportPath
from .sample import group

EDGE = 1 - 1e-5
"""Values are kept this far inside [-1, 1], where atanh is finite."""


class TokenizerConfig(Strict):
    """Everything that builds the network. The defaults are the small preset."""

    inputs: int = Field(512, ge=1, description="points of a cloud that the encoder sees")
    points: int = Field(1024, description="points of a decoded cloud")
    anchors: int = Field(256, description="linear path: sphere points whose transport maps are encoded")
    stages: tuple[tuple[int, tuple[int, ...]], ...] = Field(
        ((3, (240,)), (24, (16, 15)), (8, (8, 6, 5)), (29, (5, 4, 4, 3))),
        description="(how many tokens, FSQ levels of each of their channels), in the order of the tokens",
    )
    width: int = 96
    heads: int = 4
    encoder_layers: int = Field(2, ge=1)
    decoder_layers: int = Field(3, ge=1)
    patches: int = Field(32, description="patches that the encoder makes")
    neighbours: int = Field(16, description="points of such a patch")
    bands: int = Field(8, description="the decoder's patches: bands of the sphere, each cut into as many")

    @property
    def levels(self) -> list[tuple[int, ...]]:
        """FSQ levels for each of the K tokens."""
        return [levels for count, levels in self.stages for _ in range(count)]


class PointNet(nn.Module):
    """Patches [B, G, K, 3] -> features [B, G, W]: two layers for each point, the maximum, two layers more."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, width))
        self.all = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Features of patches; the order of points in a patch does not matter."""
        out: Tensor = self.all(self.each(patches).amax(-2))
        return out


class TokenizerNet(nn.Module):
    """Encoder, FSQ and decoder; `forward` gives the training loss."""

    patch_index: Tensor  # [G, S]: which decoded points lie in which patch of the sphere

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        levels = config.levels
        self.quantizer = FSQ(levels)
        self.linear = TransportPath(config.anchors, config.points, [len(each) for each in levels])
        width, dim, self.tokens = config.width, self.quantizer.dim, len(levels)
        index = sphere_patches(self.linear.reference, config.bands)
        self.register_buffer("patch_index", index)
        patches, size = index.shape
        self.pointnet = PointNet(width)
        self.centre = nn.Linear(3, width)
        self.latents = Tokens(self.tokens, width)
        self.value_in = nn.Linear(dim, width)
        self.encoder = Transformer(width, config.encoder_layers, config.heads)
        self.to_value = nn.Linear(width, dim)
        self.from_code = nn.Linear(dim, width)
        self.code_position = Tokens(self.tokens, width)
        self.missing = Tokens(1, width)
        self.from_patch = nn.Linear(3 * size, width)
        self.patch_position = Tokens(patches, width)
        self.decoder = Transformer(width, config.decoder_layers, config.heads)
        self.to_patch = nn.Linear(width, 3 * size)
        for module in (self.pointnet, self.centre, self.value_in, self.from_code, self.from_patch):
            module.apply(_init_inward)
        for layer in (self.to_value, self.to_patch):  # the corrections begin at zero
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def encode(self, clouds: Tensor) -> Tensor:
        """Clouds [B, N, 3] in the unit sphere -> latents [B, K, D] before FSQ (whose tanh gives the values)."""
        start = self.linear.encode(self.linear.maps(clouds))  # [B, K, D]
        centres, around = group(clouds, self.config.patches, min(self.config.neighbours, clouds.shape[1]))
        patches = self.pointnet(4 * around) + self.centre(centres)  # 4: patches span about a quarter
        queries = self.latents(len(clouds)) + self.value_in(start.clamp(-1, 1))
        x = self.encoder(torch.cat([patches, queries], dim=1))[:, patches.shape[1] :]
        return torch.atanh((start + self.to_value(x)).clamp(-EDGE, EDGE))

    def decode(self, z_q: Tensor, kept: Tensor | None = None) -> Tensor:
        """Values [B, K', D] with K' <= K, and how many of each row count [B] -> clouds [B, P, 3]."""
        batch, given, _ = z_q.shape
        z_q = nn.functional.pad(z_q, (0, 0, 0, self.tokens - given))
        kept = torch.full((batch,), given, device=z_q.device) if kept is None else kept
        there = torch.arange(self.tokens, device=z_q.device) < kept[:, None]  # [B, K]
        z_q = z_q * there[:, :, None]
        rough = self.linear.decode(z_q)  # [B, P, 3]
        codes = torch.where(there[:, :, None], self.from_code(z_q), self.missing(batch))
        codes = codes + self.code_position(batch)
        flat = rearrange(rough[:, self.patch_index], "b g s c -> b g (s c)")
        patches = self.from_patch(flat) + self.patch_position(batch)
        x = self.decoder(torch.cat([patches, codes], dim=1))[:, : patches.shape[1]]
        moves = rearrange(self.to_patch(x), "b g (s c) -> b (g s) c", c=3)
        return rough.index_add(1, self.patch_index.flatten(), moves)

    def forward(self, batch: Tensor) -> Step:
        """The training loss on batch [B, inputs + M, 3]: what is encoded, then other points of the same objects.

        In training a step looks at all decoded points or at the first half of them, which must be a good
        sparse cloud too.
        """
        clouds, wanted = batch[:, : self.config.inputs], batch[:, self.config.inputs :]
        quantized = self.quantizer(self.encode(clouds))
        made, kept = self.config.points, None
        if self.training:
            kept = nested(len(batch), self.tokens).to(batch.device)
            made = made // 2 if bool(torch.rand(()) < 0.5) else made
        error = cd1(self.decode(quantized.z_q, kept)[:, :made], wanted).mean()
        return Step(error, quantized.ids, {"cd1": error.detach()})


def nested(batch: int, tokens: int) -> Tensor:
    """How many tokens each row keeps, [batch]: all of them half of the time, else 1 to all, small more often."""
    draw = torch.rand(2, batch)
    some = (math.log(tokens + 1) * draw[1]).exp().long().clamp(1, tokens)
    return torch.where(draw[0] < 0.5, tokens, some)


def sphere_patches(reference: Tensor, bands: int) -> Tensor:
    """Cut sphere points [P, 3] into bands ** 2 patches of equal size: indices int64 [bands ** 2, size].

    Bands by height, then sectors by angle: on a sphere equal slices of height have equal areas.
    """
    count = len(reference)
    if count % bands**2:
        raise ValueError(f"{count} points do not divide into {bands} x {bands} patches")
    rows = rearrange(torch.argsort(reference[:, 2], stable=True), "(b n) -> b n", b=bands)
    angle = torch.atan2(reference[:, 1], reference[:, 0])[rows]
    order = rows.gather(1, torch.argsort(angle, dim=1, stable=True))
    return rearrange(order, "b (s n) -> (b s) n", s=bands)


def _init_inward(module: nn.Module) -> None:
    """Weights by fan-in: what has few channels must not drown in learned positions of deviation 0.5."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
