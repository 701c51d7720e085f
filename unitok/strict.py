"""Strict settings: a TOML file and dotted overrides -> a tree -> any pydantic model. No torch here.

    tree = read(Path("run.toml"), ["train.steps=20"])
    config = validate(RunConfig, tree, "run.toml")

`base = "other.toml"` inherits, with paths relative to the file; overrides come last. An unknown key is an
error that names the nearest known one. Runs, tokenizers and their trainings all read their settings here.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """Settings that cannot be used; one sentence says where and why."""


class Strict(BaseModel):
    """Settings that are frozen and take no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], tree: Mapping[str, Any], where: str) -> M:
    """Check a tree of plain values and make it a `model`.

    Args:
        model: what is wanted.
        tree: plain values.
        where: begins the sentence of an error: a file or a table.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong kind.
    """
    try:
        return model.model_validate(dict(tree))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(model, error)}") from None


def read(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The tree of a TOML file, its bases below it and overrides above.

    Args:
        path: the file.
        overrides: "dotted.key=value"; the value is TOML, or else a plain string.

    Raises:
        ConfigError: a missing file, broken TOML, or an override that is none.
    """
    tree = _read(path, seen=())
    for override in overrides:
        _override(tree, override)
    return tree


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the values of `above` in place of its own; tables that both have are merged in turn."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        out[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


def named(words: Sequence[str], default: str | Path) -> tuple[Path, Sequence[str]]:
    """What a command line names: a file (`default` if the first word is an override), then overrides."""
    if words and "=" not in words[0]:
        return Path(words[0]), words[1:]
    return Path(default), words


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path}: 'base' leads back to this file: break the circle")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = ", ".join(sorted(p.name for p in path.parent.glob("*.toml"))) if path.parent.is_dir() else ""
        raise ConfigError(
            f"{path}: there is no such file" + (f"; beside it are {near}" if near else "")
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    base = tree.pop("base", None)
    if not isinstance(base, str | None):
        raise ConfigError(f"{path}: base = {base!r}: it is the name of another file, in quotes")
    return tree if base is None else merge(_read(path.parent / base, (*seen, path)), tree)


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r} has no value: write dotted.key=value, as in train.steps=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.split(".")
    for table in tables:
        tree = tree.setdefault(table, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"override {override!r}: {table!r} is a value, not a table")
    tree[last] = value


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
        return f"unknown key {where!r}: {hint}{more}"
    if first["type"] == "missing":
        return f"the key {where!r} is missing{more}"
    if first["type"] == "value_error":  # a rule of ours, which names its keys and values itself
        return f"{first['ctx']['error']}{more}"
    rule = re.sub(r"a valid dictionary or instance of \w+", "a table", first["msg"])
    return f"{where} = {first['input']!r}: {rule[0].lower()}{rule[1:]}{more}"


def _fields(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Known keys of the table at `loc`."""
    kind: Any = model
    for part in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if part not in kind.model_fields:
                continue  # pydantic names the branch of a union here
            kind = kind.model_fields[str(part)].annotation
        else:
            kind = _inner(kind)
        kind = _model_in(kind) or kind
    found = _model_in(kind)
    return list(found.model_fields) if found else []


def _inner(kind: Any) -> Any:
    return get_args(kind)[-1] if get_args(kind) else kind


def _model_in(kind: Any) -> type[BaseModel] | None:
    """The pydantic model of `X` or `X | None`; None for containers, which a further key enters."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    found = [a for a in get_args(kind) if isinstance(a, type) and issubclass(a, BaseModel)]
    return found[0] if len(found) == 1 and type(None) in get_args(kind) else None
