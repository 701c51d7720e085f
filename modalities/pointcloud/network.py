"""The point tokenizer's network: a front end, a transformer that fills latent queries, codes, a decoder to points.

    clouds [B, N, 3] -> encode -> latents [B, K, D] -> quantizer -> decode -> clouds [B, P, 3]

Encoder tokens are groups of the cloud and K latent queries; the queries' outputs are the latents. Groups are
patches under a small PointNet as in Point-BERT (Yu et al., arXiv:2111.14819), or those of `front`. Decoder tokens
are the K codes and patches of the decoded cloud. Without the linear path each patch gives an anchor and offsets
from it; with it (`modalities.pointcloud.linear`) patches are those of the sphere whose image the cloud is, both
transformers only correct the path, and their corrections start at zero.
Training keeps a random prefix of the codes now and then (nested dropout, Rippel et al., arXiv:1402.0915), so
that every prefix decodes. With `rgb` three channels in [0, 1] stand behind the coordinates throughout.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ..common.blocks import Tokens, Transformer
from ..common.nested import draw
from ..common.quantize import FSQ, Quantized, Quantizer
from .any2point.sources import FrozenSource
from .config import TokenizerConfig
from .front import build_front
from .linear import TransportPath
from .sample import gather, group, nearest

EDGE = 1 - 1e-5
"""Values are kept this far inside [-1, 1], where atanh is finite."""
SHADES = 8
"""Points around a centre whose mean colour is the group's."""
ANCHORED = 0.4
"""Deviation of the first anchors' coordinates, about that of points in the unit sphere."""


class Made(NamedTuple):
    """Decoded clouds [B, P, 3 or 6], and the anchors [B, G, 3] that their points lie around, if there are any."""

    points: Tensor
    anchors: Tensor | None


class View(NamedTuple):
    """A step of training: what was decoded, what it is compared with [B, M, 3 or 6], and the codes between."""

    made: Made
    wanted: Tensor
    quantized: Quantized


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
    """Encoder, quantizer and decoder; `forward` gives what training compares.

    Args:
        config: what to build.
        frozen: front `any2point`: the source's tensors; None leaves them random.
    """

    patch_index: Tensor  # linear path: [G, S], which decoded points lie in which patch of the sphere

    def __init__(self, config: TokenizerConfig, frozen: FrozenSource | None = None) -> None:
        super().__init__()
        self.config = config
        self.quantizer: Quantizer = (
            FSQ(config.levels) if config.quantizer is None else config.quantizer.build(config.tokens)
        )
        width, dim, self.tokens = config.width, self.quantizer.dim, config.tokens
        self.linear: TransportPath | None = None
        patches, size = config.queries, config.points // config.queries
        if config.linear:
            channels = [len(each) for each in config.levels]
            self.linear = TransportPath(config.anchors, config.points, channels)
            index = sphere_patches(self.linear.reference, config.bands)
            self.register_buffer("patch_index", index)
            patches, size = index.shape
        self.front, features = build_front(config, frozen)
        if self.front is None:
            self.pointnet = PointNet(width)
        else:
            self.feature_in = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.centre = nn.Linear(3, width)
        self.latents = Tokens(self.tokens, width)
        self.encoder = Transformer(width, config.encoder_layers, config.heads)
        self.to_value = nn.Linear(width, self.quantizer.inputs)
        self.from_code = nn.Linear(dim, width)
        self.code_position = Tokens(self.tokens, width)
        self.missing = Tokens(1, width)
        self.patch_position = Tokens(patches, width)
        self.decoder = Transformer(width, config.decoder_layers, config.heads)
        self.to_patch = nn.Linear(width, 3 * size + (0 if config.linear else 3))
        if config.linear:
            self.value_in = nn.Linear(dim, width)
            self.from_patch = nn.Linear(3 * size, width)
        if config.rgb:
            self.colour = nn.Linear(3, width)
            self.to_colour = nn.Linear(width, 3 * size)
        self._start()

    def _start(self) -> None:
        inward = (
            "pointnet",
            "feature_in",
            "centre",
            "value_in",
            "from_code",
            "from_patch",
            "colour",
            "to_value",
        )
        for name in inward:
            if hasattr(self, name):
                getattr(self, name).apply(init_inward)
        nn.init.zeros_(self.to_patch.bias)
        if self.linear is None:
            nn.init.normal_(self.to_patch.weight, std=ANCHORED * self.config.width**-0.5)
            return
        for layer in (self.to_value, self.to_patch):  # the corrections begin at zero
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def encode(self, clouds: Tensor) -> Tensor:
        """Clouds [B, N, 3 or 6] in the unit sphere -> latents [B, K, D] before the quantizer."""
        groups = self._groups(clouds)
        queries = self.latents(len(clouds))
        if self.linear is None:
            x = self.encoder(torch.cat([groups, queries], dim=1))[:, groups.shape[1] :]
            found: Tensor = self.to_value(x)
            return found
        start = self.linear.encode(self.linear.maps(clouds[..., :3]))  # [B, K, D]
        queries = queries + self.value_in(start.clamp(-1, 1))
        x = self.encoder(torch.cat([groups, queries], dim=1))[:, groups.shape[1] :]
        return torch.atanh((start + self.to_value(x)).clamp(-EDGE, EDGE))  # FSQ's tanh gives the values

    def _groups(self, clouds: Tensor) -> Tensor:
        """Encoder tokens [B, G, W] of clouds [B, N, 3 or 6]."""
        points = clouds[..., :3]
        if self.front is None:
            centres, around = group(points, self.config.patches, min(self.config.neighbours, points.shape[1]))
            tokens = self.pointnet(4 * around) + self.centre(centres)  # 4: patches span about a quarter
        else:
            centres, features = self.front(points)
            tokens = self.feature_in(features) + self.centre(centres)
        if self.config.rgb:
            around = nearest(centres, points, min(SHADES, points.shape[1]))
            tokens = tokens + self.colour(2 * gather(clouds[..., 3:], around).mean(2) - 1)
        return tokens

    def decode(self, z_q: Tensor, kept: Tensor | None = None) -> Tensor:
        """Values [B, K', D] with K' <= K, and how many of each row count [B] -> clouds [B, P, 3 or 6]."""
        return self.made(z_q, kept).points

    def made(self, z_q: Tensor, kept: Tensor | None = None) -> Made:
        """As `decode`, with the anchors."""
        batch, given, _ = z_q.shape
        z_q = nn.functional.pad(z_q, (0, 0, 0, self.tokens - given))
        kept = torch.full((batch,), given, device=z_q.device) if kept is None else kept
        there = torch.arange(self.tokens, device=z_q.device) < kept[:, None]  # [B, K]
        z_q = z_q * there[:, :, None]
        codes = torch.where(there[:, :, None], self.from_code(z_q), self.missing(batch))
        codes = codes + self.code_position(batch)
        patches, rough = self.patch_position(batch), None
        if self.linear is not None:
            rough = self.linear.decode(z_q)  # [B, P, 3]
            flat = rearrange(rough[:, self.patch_index], "b g s c -> b g (s c)")
            patches = self.from_patch(flat) + patches
        x = self.decoder(torch.cat([patches, codes], dim=1))[:, : patches.shape[1]]
        anchors, points = None, self.to_patch(x)
        if rough is None:  # the first points of every patch come first: any first points are a sparse cloud
            anchors = points[..., :3]
            offsets = rearrange(self.config.reach * points[..., 3:].tanh(), "b g (s c) -> b s g c", c=3)
            points = (anchors[:, None] + offsets).flatten(1, 2)
        else:
            moves = rearrange(points, "b g (s c) -> b (g s) c", c=3).to(rough.dtype)  # autocast halves them
            points = rough.index_add(1, self.patch_index.flatten(), moves)
        return Made(torch.cat([points, self._colours(x)], -1) if self.config.rgb else points, anchors)

    def _colours(self, x: Tensor) -> Tensor:
        """Colours [B, P, 3] of the points of patches x [B, G, W], in the points' order."""
        shades = self.to_colour(x).sigmoid()
        if self.linear is None:
            return rearrange(shades, "b g (s c) -> b (s g) c", c=3)
        flat = rearrange(shades, "b g (s c) -> b (g s) c", c=3)
        return torch.empty_like(flat).index_copy(1, self.patch_index.flatten(), flat)

    def forward(self, batch: Tensor) -> View:
        """Of batch [B, inputs + M, 3 or 6]: what is encoded, then other points of the same objects.

        In training a step looks at all decoded points or at the first half of them, which must be a good
        sparse cloud too.
        """
        clouds, wanted = batch[:, : self.config.inputs], batch[:, self.config.inputs :]
        quantized = self.quantizer(self.encode(clouds))
        looked, kept = self.config.points, None
        if self.training:
            kept = draw("log", range(1, self.tokens + 1), len(batch), full=0.5).to(batch.device)
            looked = looked // 2 if bool(torch.rand(()) < 0.5) else looked
        made = self.made(quantized.z_q, kept)
        return View(made._replace(points=made.points[:, :looked]), wanted, quantized)


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


def init_inward(module: nn.Module) -> None:
    """Weights by fan-in: what has few channels must not drown in learned positions of deviation 0.5."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
