"""What every neural tokenizer shares: weights by name or path (or drawn at random), and codes free of company."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from unitok.strict import validate

from .quantize import Quantizer
from .weights import load_weights, read_weights

C = TypeVar("C", bound=BaseModel)
N = TypeVar("N", bound=nn.Module)

CHUNK = 32  # items encoded together


def find_weights(weights: str | Path, shipped: Path) -> Path:
    """The file of weights in the folder `shipped` by name, or the path itself.

    Raises:
        FileNotFoundError: neither a shipped name nor a file.
    """
    inside = shipped / f"{weights}.safetensors"
    path = inside if inside.is_file() else Path(str(weights))
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(
            f"no weights {str(weights)!r}: give the path of a .safetensors file or one of: {names}"
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
    build: Callable[[C], N],
) -> tuple[C, N]:
    """A frozen network and its configuration: from a file, or (weights=None) random, of the shape that `options` say.

    Args:
        weights: name in the folder `shipped`, path, or None.
        options: fields of `config`, for weights=None alone.
        seed: of random weights.
        tokenizer: registry name, for messages.
        shipped: folder of the weights that ship.
        config: the network's strict configuration.
        build: makes the network.

    Raises:
        ConfigError: an unknown or unfit option.
        TypeError: options beside a file of weights.
        FileNotFoundError, WeightsMismatch: no such file, or one of another network.
    """
    if weights is None:
        found = validate(config, options, tokenizer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build(found)
        return found, net.eval().requires_grad_(False)
    if options:
        validate(config, options, tokenizer)  # a misspelt option is the likelier mistake
        raise TypeError(f"options {sorted(options)} shape random weights: leave them out, or weights=None")
    path = find_weights(weights, shipped)
    written, state = read_weights(path)
    found = validate(config, written, str(path))
    net = build(found)
    load_weights(net, state, str(path))
    return found, net.eval().requires_grad_(False)


def encode_alike(
    items: Sequence[Tensor], latents: Callable[[Tensor], Tensor], quantizer: Quantizer, close: float
) -> list[Tensor]:
    """Ids of each item, int64 [K] or [K, parts], the same alone and in any batch.

    Args:
        items: tensors of one shape.
        latents: gives z [B, K, D] of a batch.
        quantizer: gives ids and margins of z.
        close: sums differ in the last bits with the size of a batch; an item with a smaller margin than this
            to another code is decided again by itself alone.
    """
    ids: list[Tensor] = []
    for at in range(0, len(items), CHUNK):
        chunk = torch.stack(list(items[at : at + CHUNK]))
        z = latents(chunk)
        found = quantizer.encode(z)
        if len(chunk) > 1:
            for row in (quantizer.margin(z).amin(1) < close).nonzero()[:, 0].tolist():
                found[row] = quantizer.encode(latents(chunk[row : row + 1]))[0]
        ids.extend(found)
    return ids
