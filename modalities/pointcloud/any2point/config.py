"""Settings of Any2Point: the frozen source's shape, and the published hyper-parameters by data set.

Numbers are those of the published scripts and configurations (Any2Point, arXiv:2404.07989; github.com/
Ivan-Tang-3D/Any2Point at 4e03b69). Lengths on the virtual line are positions of a table of 77, lengths on
the virtual plane are pixels of a canvas of 518 x 518 or 304 x 192; sources with other tables get them in proportion.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from unitok.strict import Strict, validate

Kind = Literal["language", "vision", "audio"]
Compat = Literal["paper", "official", "fixed"]
Preset = Literal["modelnet40", "scanobjectnn"]
Activation = Literal["gelu", "gelu_tanh", "relu", "quick_gelu"]

ADAPTER_DROPOUT = 0.1
HEAD_DROPOUT = 0.5
HEAD_WIDTH = 256
VIEW_WIDTH, VIEW_HEADS = 12, 6
"""Bottleneck of the attention inside a view's bins."""


class SourceShape(Strict):
    """Size and manner of a frozen transformer."""

    width: int = Field(768, ge=1)
    layers: int = Field(12, ge=0)
    heads: int = Field(12, ge=1)
    hidden: int = Field(3072, ge=1, description="inner width of the MLP")
    activation: Activation = "gelu"
    eps: float = Field(1e-5, gt=0, description="of its LayerNorms")
    after: bool = Field(False, description="LayerNorm after each sum, as in BERT, not before each part")
    scaled: bool = Field(False, description="LayerScale behind each part, as in DINOv2")
    opening: bool = Field(False, description="a LayerNorm before the first layer, as in BERT and CLIP's ViT")
    grid: tuple[int, ...] = Field((77,), description="positions: (length,) or (rows, columns)")
    patch: int = Field(1, ge=1, description="pixels of a patch's side; the canvas is the grid times this")


SHAPES: dict[str, SourceShape] = {
    "language": SourceShape(activation="quick_gelu"),  # CLIP ViT-L/14's text half
    "vision": SourceShape(grid=(37, 37), patch=14, scaled=True),  # DINOv2 ViT-B/14
    "audio": SourceShape(grid=(19, 12), patch=16),  # ImageBind's audio trunk
}
CANVAS: dict[str, float] = {"language": 77, "vision": 518, "audio": 192}
"""Extent along x of the published sources' line or canvas, in which bins are measured."""


class Any2PointConfig(Strict):
    """Everything that builds the network."""

    source: Kind = "language"
    compat: Compat = "paper"
    classes: int = Field(40, ge=2)
    shape: SourceShape = SHAPES["language"]
    points: int = Field(1024, ge=8, description="of a cloud; half, a quarter and an eighth become centres")
    neighbours: int = Field(64, ge=1, description="k of the front end's groups")
    offsets: Literal["deviation", "reach"] = Field(
        "deviation",
        description="neighbours' offsets are divided by their deviation, or by each group's reach",
    )
    rank: int = Field(16, ge=1, description="bottleneck of the adapters")
    adapter_scale: float = 0.3
    view_weight: float = Field(0.5, description="of what the views add")
    bin: float = Field(2.0, gt=0, description="edge of a bin on the line or the plane, see the module")
    voxel: float = Field(0.16, gt=0, description="edge of a cell in space; clouds are in the unit sphere")
    direction: tuple[float, float, float] = Field((1.0, -1.0, 0.0), description="language: of the line")
    distance: float = Field(-1.4, lt=-1, description="vision, audio: where the eye is on its axis")
    pool: Literal["mean", "both"] = Field("mean", description="of a bin: mean, or mean and maximum")
    place_each_block: bool = Field(False, description="add positions before every block, not once")
    place_twice: bool = Field(False, description="with the above: once more before the first block")
    maximum_first: bool = Field(False, description="the head sees [maximum; class token], not the reverse")
    drop_path: float = Field(0.0, ge=0, lt=1, description="of the last frozen layer; rises linearly from 0")


PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("language", "modelnet40"): {"neighbours": 64, "rank": 16, "adapter_scale": 0.3, "view_weight": 0.5},
    ("vision", "modelnet40"): {
        "neighbours": 81, "rank": 8, "adapter_scale": 1.0, "view_weight": 0.1, "place_each_block": True,
        "drop_path": 0.1,
    },
    ("audio", "modelnet40"): {
        "neighbours": 81, "rank": 8, "adapter_scale": 1.0, "view_weight": 0.1, "drop_path": 0.1,
    },
    ("language", "scanobjectnn"): {
        "neighbours": 81, "rank": 16, "adapter_scale": 0.3, "view_weight": 0.3, "voxel": 0.08,
        "direction": (-1.0, 0.0, 1.0), "place_each_block": True, "place_twice": True,
    },
    ("vision", "scanobjectnn"): {
        "neighbours": 64, "rank": 8, "adapter_scale": 0.3, "view_weight": 0.7, "distance": -1.8,
        "place_each_block": True,
    },
    ("audio", "scanobjectnn"): {"neighbours": 64, "rank": 12, "adapter_scale": 0.3, "view_weight": 0.5},
}  # fmt: skip


def configure(
    source: Kind,
    compat: Compat,
    classes: int,
    preset: Preset,
    shape: SourceShape | None,
    options: dict[str, Any],
) -> Any2PointConfig:
    """The configuration of a preset with `options` in place of its values.

    Raises:
        ConfigError: an unknown source or preset, or an unfit option.
    """
    tree: dict[str, Any] = {"source": source, "compat": compat, "classes": classes}
    validate(Any2PointConfig, tree, "any2point")  # a misspelt source is told before its preset is missed
    if (source, preset) not in PRESETS:
        names = ", ".join(sorted({name for _, name in PRESETS}))
        raise ValueError(f"preset {preset!r} is unknown: use one of {names}")
    tree |= {"pool": "mean" if source == "language" else "both"}
    tree |= {"bin": {"language": 2.0, "vision": 26.0, "audio": 16.0}[source], **PRESETS[source, preset]}
    if preset == "scanobjectnn":
        tree |= {"offsets": "reach", "maximum_first": True}
    shape = SHAPES[source] if shape is None else shape
    if len(shape.grid) != (1 if source == "language" else 2):
        raise ValueError(
            f"a {source} source with positions {list(shape.grid)}: it needs {'one axis' if source == 'language' else 'two axes'}"
        )
    return validate(Any2PointConfig, {**tree, "shape": shape, **options}, "any2point")
