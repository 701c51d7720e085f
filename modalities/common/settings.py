"""Strict settings: a pydantic model whose unknown keys are errors that name the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Settings(BaseModel):
    """Base of all settings here: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


def parse(cls: type[S], tree: Mapping[str, Any], where: str) -> S:
    """Make `cls` from plain values.

    Raises:
        ValueError: one sentence: where, which key, what is wrong with it.
    """
    try:
        return cls.model_validate(dict(tree))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _known(cls, first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ValueError(f"{where}: unknown key {key!r}: {hint}") from None
        value = "" if first["type"] == "missing" else f" (it is {first['input']!r})"
        raise ValueError(f"{where}: {key}: {first['msg']}{value}") from None


def _known(cls: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Field names of the model that the path of an error leads to."""
    for part in path:
        field = cls.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            cls = inner
    return list(cls.model_fields)
