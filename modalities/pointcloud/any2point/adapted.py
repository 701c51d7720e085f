"""Opening again what `recipes/adapt_pointcloud.py` wrote."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from unitok.strict import validate

from ...common.weights import WeightsMismatch
from .config import Any2PointConfig
from .model import Any2Point
from .sources import FrozenSource

FROZEN = ("layers.", "opening.")
"""Tensors that a file without its source lacks, by our names."""


def load_adapted(path: str | Path, frozen: FrozenSource | None = None) -> Any2Point:
    """The network of an `adapted.safetensors`, in evaluation mode.

    Args:
        path: the file.
        frozen: the source that it was adapted to, from `load_source`; files hold it only where it was random.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a file of adapted weights, `frozen` missing, or of another kind or shape.
        WeightsMismatch: tensors that the network does not have, or lacks.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the output of recipes/adapt_pointcloud.py")
    try:
        with safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get("config")
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error})") from error
    if told is None:
        raise ValueError(
            f"{path} does not say what it configures: give the output of recipes/adapt_pointcloud.py"
        )
    config = validate(Any2PointConfig, json.loads(told), str(path))
    if frozen is not None and frozen.shape.model_copy(update={"eps": config.shape.eps}) != config.shape:
        raise ValueError(
            f"{path} was adapted to a source of {config.shape.layers} layers of {config.shape.width}, and {frozen.origin} "
            f"has {frozen.shape.layers} of {frozen.shape.width}: give the same source"
        )
    options = config.model_dump(exclude={"source", "compat", "classes", "shape"})
    shape = {} if frozen else {"shape": config.shape}
    model = Any2Point(
        config.source, compat=config.compat, classes=config.classes, frozen=frozen, **options, **shape
    )
    missing, unknown = model.load_state_dict(state, strict=False)
    lacking = [name for name in missing if not name.startswith(FROZEN)]
    if unknown or lacking:
        raise WeightsMismatch(
            f"{path} does not fit its own configuration: it lacks {lacking[:3]} and has besides {list(unknown)[:3]}"
        )
    if missing and frozen is None:
        raise ValueError(
            f"{path} holds the trained parts alone: give frozen=load_source(the folder of the {config.source} model)"
        )
    return model.eval()
