"""Frozen sources: released transformers of language, vision and audio from local folders; nothing is downloaded.

    found = load_source("all-MiniLM-L6-v2")              # a folder, or a weight file
    found = load_source("clip-vit-large-patch14", "language")   # a CLIP holds two: say which
    found.source, found.shape, found.state

| source | what is read |
|---|---|
| language | CLIP's text half (Hugging Face, or OpenAI's and open_clip's names), BERT, MiniLM, RoBERTa, GPT-2 |
| vision | DINOv2 and ViT (timm's or Hugging Face names), DeiT, CLIP's ViT |
| audio | ImageBind's audio trunk, AST |

Any2Point borrows learned positions, so models without a table of them (RoPE, ALiBi, relative) are refused. A
configuration beside the weights tells heads, activation and epsilon; without one, heads have 64 channels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unitok.strict import validate

from ...common.checkpoint import Checkpoint, open_checkpoint
from .config import Kind, SourceShape
from .layouts import LAYOUTS, Layout

OURS = re.compile(r"^(layers\.\d+|opening|norm)\.|^(positions|types)$")
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh"}
PATCHES = re.compile(r"(patch_embeddings?(\.proj(ection)?)?|conv1|audio\.rgbt_stem\.proj)\.weight$")
PADDED = ("roberta", "xlm-roberta", "camembert")
"""Their tables begin with two rows that no token gets."""


@dataclass(frozen=True, eq=False)
class FrozenSource:
    """A transformer that lends its layers and positions.

    Args:
        source: its kind.
        shape: its size and manner.
        state: tensors by the names of `Any2Point`'s parts: layers.N.…, opening.…, norm.…, source_positions.
        origin: what was read, for messages.
    """

    source: Kind
    shape: SourceShape
    state: dict[str, Tensor]
    origin: str = ""


def load_source(path: str | Path, source: Kind | None = None, **changes: Any) -> FrozenSource:
    """Read a released transformer.

    Args:
        path: a folder (Hugging Face) or a weight file.
        source: "language", "vision" or "audio", where the weights hold several.
        changes: fields of `SourceShape` that the files do not tell or tell wrongly; a shorter `grid` of one
            number keeps the first positions alone.

    Raises:
        FileNotFoundError, BadCheckpoint: see `open_checkpoint`.
        ValueError: no layout that is read here, several of them, or no table of positions.
    """
    checkpoint = open_checkpoint(path)
    layout = _layout(checkpoint, source, path)
    state = {k: t.float() for k, t in layout.keys.ours(checkpoint.state).items() if OURS.match(k)}
    if layout.transposed:  # GPT-2 keeps matrices as [in, out]
        state = {
            k: t.t().contiguous() if k.startswith("layers.") and t.dim() == 2 else t for k, t in state.items()
        }
    if "positions" not in state or "layers.0.mlp.up.weight" not in state:
        raise ValueError(
            f"{path} lacks positions or MLPs of a {layout.name}: it is cut short, or of a variant (SwiGLU) that is "
            "not read here"
        )
    config = dict(_config(checkpoint.config, layout))
    patches = _patches(checkpoint.state)
    if patches is not None:
        config.setdefault("patch_size", patches.shape[-1])
    table = _table(state, config, layout)
    shape = _shape(state, table, config, layout, changes, str(path))
    if layout.source == "language":
        table = table[: shape.grid[0]]
    return FrozenSource(layout.source, shape, {**state, "source_positions": table}, str(path))


def _layout(checkpoint: Checkpoint, source: Kind | None, path: str | Path) -> Layout:
    """The one layout that the names fit."""
    names, patches = list(checkpoint.state), _patches(checkpoint.state)
    mono = patches is not None and patches.shape[1] == 1
    fit = [
        layout
        for layout in LAYOUTS
        if layout.mono in (None, mono) and any(re.search(layout.mark, name) for name in names)
    ]
    wanted = [layout for layout in fit if source in (None, layout.source)]
    if len({layout.source for layout in wanted}) > 1:
        kinds = ", ".join(sorted({layout.source for layout in wanted}))
        raise ValueError(f"{path} holds sources of {kinds}: say which one with source=")
    if wanted:
        return wanted[0]
    if fit:
        raise ValueError(
            f"{path} is a {fit[0].name} of {fit[0].source}, not of {source}: give another folder"
        )
    if any("self_attn.q_proj" in name for name in names):
        raise ValueError(
            f"{path} has no table of learned positions to borrow (it rotates queries and keys, or the like): give a "
            "CLIP, BERT, RoBERTa, GPT-2, ViT, DINOv2, ImageBind or AST"
        )
    known = ", ".join(dict.fromkeys(layout.name for layout in LAYOUTS))
    raise ValueError(
        f"{path} is no source that is read here (it begins with {names[0]}): give one of {known}"
    )


def _patches(state: Mapping[str, Tensor]) -> Tensor | None:
    """Weights [W, channels, p, p] of the convolution that makes tokens of patches."""
    return next((t for name, t in state.items() if t.dim() == 4 and PATCHES.search(name)), None)


def _config(found: Mapping[str, Any], layout: Layout) -> Mapping[str, Any]:
    """The part of config.json that is about this half of the model."""
    part = found.get({"language": "text_config", "vision": "vision_config"}.get(layout.source, ""))
    return part if isinstance(part, Mapping) else found


def _table(state: dict[str, Tensor], config: Mapping[str, Any], layout: Layout) -> Tensor:
    """Positions [L, W] of tokens other than class tokens; takes what it uses out of `state`."""
    table = state.pop("positions")
    table = table.reshape(-1, table.shape[-1])
    types = state.pop("types", None)  # BERT adds the first to every token of a lone sentence
    if layout.source != "language":
        return table[_leading(len(table), layout) :]
    if config.get("model_type") in PADDED:
        table = table[2:]
    return table if types is None else table + types[0]


def _leading(count: int, layout: Layout) -> int:
    """How many rows belong to class and distillation tokens."""
    if layout.source == "audio":
        return layout.leading
    for leading in (1, 0, 2):
        if math.isqrt(count - leading) ** 2 == count - leading:
            return leading
    raise ValueError(f"a table of {count} positions is no square of patches with up to two tokens before it")


def _shape(
    state: Mapping[str, Tensor],
    table: Tensor,
    config: Mapping[str, Any],
    layout: Layout,
    changes: Mapping[str, Any],
    where: str,
) -> SourceShape:
    """Sizes from the tensors, manners from the configuration, else from the layout."""
    hidden, width = state["layers.0.mlp.up.weight"].shape
    activation = str(_first(config, "hidden_act", "activation_function") or layout.activation)
    known: dict[str, Any] = {
        "width": width,
        "hidden": hidden,
        "layers": 1 + max(int(k.split(".")[1]) for k in state if k.startswith("layers.")),
        "heads": _first(config, "num_attention_heads", "n_head", "num_heads") or max(1, width // 64),
        "activation": ACTIVATIONS.get(activation, activation),
        "eps": _first(config, "layer_norm_eps", "layer_norm_epsilon") or layout.eps,
        "after": layout.after,
        "opening": "opening.weight" in state,
        "scaled": "layers.0.scale_1.gamma" in state,
        "grid": _grid(len(table), config, layout),
        "patch": 1 if layout.source == "language" else _first(config, "patch_size") or layout.patch,
    }
    shape = validate(SourceShape, {**known, **changes}, where)
    if math.prod(shape.grid) > len(table) or (
        layout.source != "language" and math.prod(shape.grid) < len(table)
    ):
        raise ValueError(
            f"{where}: a grid {list(shape.grid)} of {len(table)} positions: give sides whose product it is"
        )
    return shape


def _grid(count: int, config: Mapping[str, Any], layout: Layout) -> tuple[int, ...]:
    if layout.source == "language":
        return (count,)
    if layout.source == "vision":
        return (math.isqrt(count), math.isqrt(count))
    rows = layout.rows
    bins, patch, step = (config.get(k) for k in ("num_mel_bins", "patch_size", "frequency_stride"))
    if bins and patch and step:
        rows = (bins - patch) // step + 1
    return (rows, count // rows)


def _first(config: Mapping[str, Any], *names: str) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)
