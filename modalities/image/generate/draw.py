"""Pictures of classes: a generator's codes, decoded by its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from unitok import registry

from . import open_generator
from .training import as_codes


def draw(
    path: Path,
    classes: Sequence[str],
    *,
    kind: str | None = None,
    tokenizer: str = "image.titok",
    weights: str | None = None,
    guidance: float | None = None,
    seed: int = 0,
) -> list[Image.Image]:
    """One picture for each of `classes`.

    Args:
        path: weights of the generator, see `open_generator`.
        classes: names that the generator's .json lists, or numbers; -1 for no class.
        kind: which generator a released file is of.
        tokenizer, weights: registry name and weights of the tokenizer whose codes it writes.
        guidance: peak of its schedule; its own if None.
        seed: of the noise.

    Raises:
        ValueError: an unknown class.
    """
    net: Any = open_generator(path, kind)
    about = path.with_suffix(".json")
    names = json.loads(about.read_text())["config"].get("classes", []) if about.is_file() else []
    unknown = [name for name in classes if name not in names and not name.lstrip("-").isdigit()]
    if unknown:
        raise ValueError(
            f"no class is called {unknown[0]!r}: there are {', '.join(names) or 'numbers alone'}"
        )
    numbers = torch.tensor([names.index(name) if name in names else int(name) for name in classes])
    sampling = net.config.sampling
    if guidance is not None:
        sampling = sampling.model_copy(update={"guidance": guidance})
    ids = net.sample(numbers, sampling, generator=torch.Generator().manual_seed(seed))
    found: list[Image.Image] = registry.create(tokenizer, **({"weights": weights} if weights else {})).decode(
        as_codes(ids)
    )
    return found
