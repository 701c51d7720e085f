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
    tokenizer: str | None = None,
    weights: str | None = None,
    guidance: float | None = None,
    seed: int = 0,
) -> list[Image.Image]:
    """One picture for each of `classes`.

    Args:
        path: weights of the generator, see `open_generator`.
        classes: names that the generator's .json lists, or numbers; -1 for no class.
        kind: which generator a released file is of.
        tokenizer, weights: registry name and weights of the tokenizer whose codes it writes; the name that the
            generator's .json has, or image.titok, if not given.
        guidance: peak of its schedule; its own if None.
        seed: of the noise.

    Raises:
        ValueError: an unknown class, or another tokenizer than the generator was trained with.
    """
    net: Any = open_generator(path, kind)
    about = path.with_suffix(".json")
    told = json.loads(about.read_text(encoding="utf-8"))["config"] if about.is_file() else {}
    numbers = torch.tensor([_number(name, told.get("classes", []), net.config.classes) for name in classes])
    use = tokenizer or told.get("tokenizer", {}).get("use", "image.titok")
    reader = registry.create(use, **({"weights": weights} if weights else {}))
    wanted = told.get("tokenizer", {}).get("fingerprint")
    if wanted and reader.spec.fingerprint != wanted:
        raise ValueError(
            f"the generator writes codes of {told['tokenizer']['use']} with fingerprint {wanted}, this one is {use} "
            f"with {reader.spec.fingerprint}: give the tokenizer's own --weights"
        )
    sampling = net.config.sampling
    if guidance is not None:
        sampling = sampling.model_copy(update={"guidance": guidance})
    ids = net.sample(numbers, sampling, generator=torch.Generator().manual_seed(seed))
    found: list[Image.Image] = reader.decode(as_codes(ids))
    return found


def _number(name: str, names: Sequence[str], count: int) -> int:
    """The number of a class by its name or as it is; -1 is no class."""
    if name in names:
        return names.index(name)
    try:
        number = int(name)
    except ValueError:
        raise ValueError(
            f"no class is called {name!r}: there are {', '.join(names) or 'numbers alone'}"
        ) from None
    if not -1 <= number < count:
        raise ValueError(f"class {number} is outside 0 .. {count - 1} (or -1 for no class)")
    return number
