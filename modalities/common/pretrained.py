"""What every neural tokenizer shares: weights by name or path (or drawn at random), and codes free of company."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from unitok.strict import validate

from .checkpoint import Checkpoint, open_checkpoint
from .quantize import Quantizer
from .weights import WeightsMismatch, is_ours, load_weights, read_weights

C = TypeVar("C", bound=BaseModel)

CHUNK = 32  # items encoded together


def find_weights(weights: str | Path, shipped: Path) -> Path:
    """The file of weights in the folder `shipped` by name, or the path itself.

    Raises:
        FileNotFoundError: neither a shipped name nor a file.
    """
    inside = shipped / f"{weights}.safetensors"
    path = inside if inside.is_file() else Path(str(weights))
    if not path.exists():
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(
            f"no weights {str(weights)!r}: give the path of a weight file or one of: {names}"
        )
    return path


def network(
    weights: str | Path | None,
    options: Mapping[str, Any],
    seed: int,
    *,
    tokenizer: str,
    shipped: Path,
    config: type[C],
    build: Callable[[C], nn.Module],
    preset: C | None = None,
    released: Callable[[Checkpoint], tuple[C, dict[str, Tensor]]] | None = None,
    adjustable: frozenset[str] = frozenset(),
) -> tuple[C, nn.Module]:
    """A frozen network and its configuration: from a file, or (weights=None) random, of the shape that is asked for.

    Args:
        weights: name in the folder `shipped`, path of a file of ours or of a released file or folder, or None.
        options: fields of `config`; for weights=None, and those in `adjustable`.
        seed: of random weights.
        tokenizer: registry name, for messages.
        shipped: folder of the weights that ship.
        config: the network's strict configuration.
        build: makes the network.
        preset: the shape that `options` change; beside a file: what it must be.
        released: gives configuration and tensors of a released checkpoint.
        adjustable: fields that do not change which weights fit.

    Raises:
        ConfigError: an unknown or unfit option.
        TypeError: options beside a file of weights.
        FileNotFoundError, WeightsMismatch: no such file, or one of another network.
    """
    base = {} if preset is None else preset.model_dump()
    if weights is None:
        found = validate(config, {**base, **options}, tokenizer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build(found)
        return found, net.eval().requires_grad_(False)
    fixed = sorted(set(options) - adjustable)
    if fixed:
        validate(config, options, tokenizer)  # a misspelt option is the likelier mistake
        raise TypeError(f"options {fixed} shape random weights: leave them out, or weights=None")
    found, state, source = _opened(weights, shipped, config, released)
    if preset is not None and _shape(found, adjustable) != _shape(preset, adjustable):
        raise WeightsMismatch(f"{source} is of another preset: {_differences(found, preset)}")
    found = validate(config, {**found.model_dump(), **options}, tokenizer) if options else found
    net = build(found)
    load_weights(net, state, source)
    return found, net.eval().requires_grad_(False)


def _opened(
    weights: str | Path,
    shipped: Path,
    config: type[C],
    released: Callable[[Checkpoint], tuple[C, dict[str, Tensor]]] | None,
) -> tuple[C, dict[str, Tensor], str]:
    """Configuration, tensors and name of a file: ours says what it is, a released one is told by its shapes."""
    path = find_weights(weights, shipped)
    if is_ours(path):
        written, state = read_weights(path)
        return validate(config, written, str(path)), state, str(path)
    if released is None:
        raise WeightsMismatch(f"{path} is no weight file of ours, and none was released for this tokenizer")
    found, state, _ = read_released(path, released)
    return found, state, str(path)


def read_released(
    path: str | Path, released: Callable[[Checkpoint], tuple[C, dict[str, Tensor]]]
) -> tuple[C, dict[str, Tensor], Checkpoint]:
    """Configuration and tensors (floats as fp32), under our names, of a released file or folder; and what it holds.

    Raises:
        FileNotFoundError, BadCheckpoint: see `open_checkpoint`.
        WeightsMismatch: a file of another tokenizer.
    """
    checkpoint = open_checkpoint(path)
    try:
        found, state = released(checkpoint)
    except KeyError as error:
        some = ", ".join(list(checkpoint.state)[:3])
        raise WeightsMismatch(
            f"{path} has no tensor {error}: it is a file of another tokenizer (it begins with {some})"
        ) from error
    return found, {k: t.float() if t.is_floating_point() else t for k, t in state.items()}, checkpoint


def _shape(config: BaseModel, adjustable: frozenset[str]) -> dict[str, Any]:
    return config.model_dump(exclude=set(adjustable))


def _differences(found: BaseModel, wanted: BaseModel) -> str:
    """Which fields of two configurations differ, in words."""
    one, two = found.model_dump(), wanted.model_dump()
    return "; ".join(f"{key} is {one[key]}, not {two[key]}" for key in two if one.get(key) != two[key])


def encode_alike(
    items: Sequence[Tensor],
    latents: Callable[[Tensor], Tensor],
    quantizer: Quantizer,
    close: float,
    whole: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Ids of each item, int64 [K] or [K, parts], the same alone and in any batch.

    Args:
        items: tensors of one shape.
        latents: gives z [B, K, D] of a batch.
        quantizer: gives ids and margins of z.
        close: sums differ in the last bits with the size of a batch; an item with a smaller margin than this
            to another code is decided again by itself alone.
        whole: where `latents` takes a shorter way to the first K codes: gives those of all codes, and decides again.
    """
    ids: list[Tensor] = []
    for at in range(0, len(items), CHUNK):
        chunk = torch.stack(list(items[at : at + CHUNK]))
        z = latents(chunk)
        found = quantizer.encode(z)
        if len(chunk) > 1 or whole is not None:
            for row in (quantizer.margin(z).amin(1) < close).nonzero()[:, 0].tolist():
                again = (whole or latents)(chunk[row : row + 1])[:, : z.shape[1]]
                found[row] = quantizer.encode(again)[0]
        ids.extend(found)
    return ids
