"""Any2Point: a frozen transformer of another modality, guided by a few trainable parts, tells what a cloud is.

    Any2Point("vision", preset="modelnet40", classes=40)(points [B, 1024, 3]) -> logits [B, 40]
    Any2Point("language", frozen=load_source("all-MiniLM-L6-v2"), classes=10)

    points -> front end -> tokens + positions borrowed by virtual projection
           -> [frozen layer + adapter, guide over six views and voxels] x L -> norm
           -> [class token ; maximum over the others] -> head

Tang et al., arXiv:2404.07989. Clouds are in the unit sphere. Names in the state dict are those of the
published ModelNet trees, with the buffer `source_positions` beside them; those of the ScanObjectNN trees load, too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...common.keys import KeyMap
from ...common.weights import load_weights
from .cells import Cells, line_bins, plane_bins, voxels
from .config import CANVAS, HEAD_DROPOUT, HEAD_WIDTH, Compat, Kind, Preset, configure
from .frozen import FrozenLayer
from .guided import Guide, Views
from .names import to_ours, to_published
from .pointpn import PointPN
from .project import line_positions, plane_positions, virtual_projection_1d, virtual_projection_2d
from .sources import FrozenSource

POSITIONS = "source_positions"
PUBLISHED_EPS = 1e-5
"""Of every LayerNorm in the published code, whatever the source's own is."""
STEP = 48
"""The front end's width is a multiple of this."""


class Any2Point(nn.Module):
    """Points [B, N, 3] -> logits [B, classes].

    Args:
        source: kind of the frozen transformer: "language", "vision" or "audio".
        compat: "paper": the paper's mathematics, nothing depends on the rest of the batch in evaluation.
            "official": what the published code computes, its slips included. "fixed": the same but for two: language
            attends over tokens instead of clouds, and positions on a plane keep channels and tokens apart.
        classes: how many.
        preset: published hyper-parameters of "modelnet40" or "scanobjectnn".
        frozen: what `load_source` found; without it the frozen part is random, of the published shape.
        options: fields of `Any2PointConfig` in place of the preset's.

    Raises:
        ConfigError: an unknown or unfit option.
        ValueError: `frozen` is of another kind than `source`.
    """

    source_positions: Tensor  # [L, W]: positions of the source, without its class token's

    def __init__(
        self,
        source: Kind = "language",
        *,
        compat: Compat = "paper",
        classes: int = 40,
        preset: Preset = "modelnet40",
        frozen: FrozenSource | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if frozen is not None:
            if frozen.source != source:
                raise ValueError(
                    f"the frozen source is of {frozen.source}, not of {source}: say source={frozen.source!r}"
                )
            eps = frozen.shape.eps if compat == "paper" else PUBLISHED_EPS
            options = {**options, "shape": frozen.shape.model_copy(update={"eps": eps})}
        shape = options.pop("shape", None)
        config = self.config = configure(source, compat, classes, preset, shape, options)
        shape = config.shape
        width, published = shape.width, compat != "paper"
        inner = width - width % STEP
        self.front = PointPN(inner, config.neighbours, config.points, config.offsets, published)
        self.widen: nn.Module = nn.Identity() if inner == width else nn.Linear(inner, width)
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.cls_pos = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        across = compat == "official" and source == "language"
        self.opening: nn.Module = nn.LayerNorm(width, eps=shape.eps) if shape.opening else nn.Identity()
        self.opening.requires_grad_(False)
        self.layers = nn.ModuleList(FrozenLayer(shape, across) for _ in range(shape.layers))
        self.guides = nn.ModuleList(
            Guide(width, config.rank, config.pool, config.view_weight) for _ in range(shape.layers)
        )
        self.views = Views(width)
        self.norm = nn.LayerNorm(width, eps=shape.eps)
        self.head = nn.Sequential(
            nn.Linear(2 * width, HEAD_WIDTH), nn.BatchNorm1d(HEAD_WIDTH), nn.ReLU(), nn.Dropout(HEAD_DROPOUT),
            nn.Linear(HEAD_WIDTH, HEAD_WIDTH), nn.BatchNorm1d(HEAD_WIDTH), nn.ReLU(), nn.Dropout(HEAD_DROPOUT),
            nn.Linear(HEAD_WIDTH, classes),
        )  # fmt: skip
        std = 0.02 if shape.layers else 0.0  # without layers there is nothing to tell positions to
        self.register_buffer(POSITIONS, std * torch.randn(math.prod(shape.grid), width))
        self._borrowed = frozen is not None
        if frozen is not None:
            self._take(frozen)
        self.register_state_dict_post_hook(_published_names)
        self.register_load_state_dict_pre_hook(_our_names)

    @property
    def canvas(self) -> tuple[int, int]:
        """(height, width) in pixels, or (1, length) of a line."""
        rows, columns = (1, *self.config.shape.grid)[-2:]
        return rows * self.config.shape.patch, columns * self.config.shape.patch

    @property
    def bin(self) -> float:
        """Edge of a bin on the source's own line or canvas."""
        return self.config.bin * self.canvas[1] / CANVAS[self.config.source]

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that train: all but the frozen source's."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)

    def forward(self, points: Tensor) -> Tensor:
        """Points [B, N, 3] in the unit sphere -> logits [B, classes].

        Raises:
            ValueError: another shape, or fewer points than `config.points` / 2.
        """
        _, x = self.tokens(points)
        parts = [x[:, 0], x[:, 1:].amax(1)]
        out: Tensor = self.head(torch.cat(parts[::-1] if self.config.maximum_first else parts, -1))
        return out

    def tokens(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points as in `forward` -> centres [B, G, 3], what the head sees [B, 1 + G, W]: the class token, then the centres'."""
        c = self.config
        centres, features = self.front(points)
        tokens = self.widen(features)
        places, bins = self.projected(centres)
        space = Cells.of(voxels(centres, c.voxel))
        cells = [Cells.of(each) for each in bins.unbind(1)]
        together = [each.together() for each in cells]
        empty = [self._empty(len(points), len(each)) for each in cells]
        where = torch.cat([self.cls_pos.expand(len(points), -1, -1), places], 1)
        x = torch.cat([self.cls_token.expand(len(points), -1, -1), tokens], 1)
        if not c.place_each_block or c.place_twice:
            x = x + where
        x = self.opening(x)
        for number, (layer, guide) in enumerate(zip(self.layers, self.guides, strict=True)):
            x = x + where if c.place_each_block else x
            x = layer.between(x + self._dropped(layer.attend(x), number))
            f = self._dropped(layer.feed(x), number)
            x = layer.close(x + f + c.adapter_scale * guide.adapter(f))
            rest = guide(x[:, 1:], space, cells, together, self.views, empty)
            x = torch.cat([x[:, :1], rest], 1)
        return centres, self.norm(x)

    def projected(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Of centres [B, G, 3]: borrowed positions [B, G, W], mean of the views; bins int64 [B, 6, G]."""
        c = self.config
        with torch.no_grad():
            if c.source == "language":
                places = virtual_projection_1d(centres, c.direction, self.canvas[1], c.compat)
                return line_positions(self.source_positions, places, c.compat), line_bins(places, self.bin)
            rows, columns = c.shape.grid
            stretch = rows / columns if c.source == "audio" and (rows, columns) == (19, 12) else 1.0
            pixels = virtual_projection_2d(centres, c.distance, self.canvas, stretch, c.compat)
            found = plane_positions(self.source_positions, pixels, (rows, columns), self.canvas, c.compat)
            return found, plane_bins(pixels, self.bin, self.canvas)

    def _empty(self, batch: int, occupied: int) -> int:
        """Bins of a view without tokens, which the published code counts as zeros where training normalises."""
        if self.config.compat == "paper":
            return 0
        height, width = self.canvas
        columns = -int(-width // self.bin)
        rows = 1 if self.config.source == "language" else -int(-height // self.bin)
        return batch * rows * columns - occupied

    def _dropped(self, x: Tensor, layer: int) -> Tensor:
        """Stochastic depth (Huang et al., arXiv:1603.09382) of what a frozen layer adds, for each cloud."""
        rate = self.config.drop_path * layer / max(1, len(self.layers) - 1)
        if not self.training or rate == 0:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= rate
        return x * kept / (1 - rate)

    def _take(self, frozen: FrozenSource) -> None:
        """The source's tensors in the frozen parts, and its last norm as the start of ours."""
        parts = nn.Module()
        for name in {key.partition(".")[0] for key in frozen.state} - {POSITIONS}:
            parts.add_module(name, getattr(self, name))
        parts.register_buffer(POSITIONS, self.source_positions)
        load_weights(parts, frozen.state, frozen.origin)


def _renamed(state: dict[str, Any], prefix: str, names: KeyMap) -> None:
    """Rename in place what begins with `prefix`."""
    found = {key: state.pop(key) for key in list(state) if key.startswith(prefix)}
    mapped = names.ours({key.removeprefix(prefix): value for key, value in found.items()})
    state.update({prefix + key: value for key, value in mapped.items()})


def _published_names(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    assert isinstance(module, Any2Point)
    _renamed(state, prefix, to_published(module.config.source))


def _our_names(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any], *rest: Any
) -> None:
    assert isinstance(module, Any2Point)
    scan = f"{prefix}prediction.head.0.0.weight" in state
    _renamed(state, prefix, to_ours(module.config.source))
    for name in ("head.0", "head.4") if scan else ():  # those trees have no bias before a norm
        weight = state.get(f"{prefix}{name}.weight")
        if weight is not None:
            state.setdefault(f"{prefix}{name}.bias", weight.new_zeros(len(weight)))
    if prefix + POSITIONS not in state:  # published files leave it with the source
        if not module._borrowed:
            warnings.warn(
                "these weights lack source_positions, and no source was loaded: positions stay random, so give "
                "frozen=load_source(folder) first",
                stacklevel=2,
            )
        state[prefix + POSITIONS] = module.source_positions
