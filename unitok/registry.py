"""Modalities by name. Lazy: a name costs nothing until it is created.

Every modality, a built-in one too, comes through the entry-point group `unitok.modalities`: each entry
loads to a catalogue, a mapping of names to "module:Class" strings. `register` adds a class at run time.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from unitok.modality import Modality

GROUP = "unitok.modalities"
EXTRAS = {  # the package whose absence is reported -> the extra that brings it
    "sentencepiece": "text",
    "PIL": "image",
    "rdkit": "molecule",
    "selfies": "molecule",
    "nltk": "molecule",
    "rouge_score": "molecule",
    "tokenizers": "molecule",
    "rapidfuzz": "molecule",
    "fcd": "molecule",
    "zstandard": "image",
    "open3d": "pointcloud",
    "deepspeed": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "jinja2": "train",
    "pyarrow": "parquet",
}

T = TypeVar("T", bound="type[Modality]")


class UnknownModality(LookupError):
    """A name that no catalogue and no `register` call has."""


class Registry:
    """Names to classes or to "module:Class" targets that are imported when first asked for."""

    def __init__(self, group: str | None = GROUP) -> None:
        self._group = group
        self._targets: dict[str, str | type[Modality]] = {}
        self._owners: dict[str, str] = {}

    def _discover(self) -> None:
        if self._group is None:
            return
        group, self._group = self._group, None
        for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
            catalogue: Mapping[str, str] = entry.load()
            for name, target in catalogue.items():
                self._add(name, target, owner=f"entry point {entry.name!r} ({entry.value})")

    def _add(self, name: str, target: str | type[Modality], owner: str) -> None:
        if name in self._targets and self._targets[name] is not target:
            raise ValueError(
                f"modality {name!r} of {owner} is already taken by {self._owners[name]}: choose another name"
            )
        self._targets[name] = target
        self._owners[name] = owner

    def register(self, name: str) -> Callable[[T], T]:
        """A class decorator that makes the class known as `name`."""

        def add(cls: T) -> T:
            self._discover()
            self._add(name, cls, owner=f"class {cls.__module__}.{cls.__qualname__}")
            return cls

        return add

    def names(self) -> list[str]:
        """All known names, sorted."""
        self._discover()
        return sorted(self._targets)

    def get(self, name: str) -> type[Modality]:
        """The class behind a name.

        Raises:
            UnknownModality: no such name; near matches are named.
            ImportError: a package is missing; the extra that brings it is named.
        """
        self._discover()
        if name not in self._targets:
            near = difflib.get_close_matches(name, self._targets, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(self.names())}"
            raise UnknownModality(f"no modality is called {name!r}: {hint}")
        target = self._targets[name]
        if isinstance(target, str):
            target = self._import(name, target)
            self._targets[name] = target
        return target

    @staticmethod
    def _import(name: str, target: str) -> type[Modality]:
        module, _, attribute = target.partition(":")
        try:
            found: type[Modality] = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = EXTRAS.get(package)
            fix = f"pip install 'unitok-lm[{extra}]'" if extra else f"install {package}"
            raise ModuleNotFoundError(
                f"modality {name!r} needs the package {package!r}, which is not installed: {fix}",
                name=error.name,
            ) from error
        return found

    def create(self, name: str, /, **options: Any) -> Modality:
        """Build the modality called `name`.

        Raises:
            TypeError: an option that the modality does not take; the nearest one is named.
        """
        cls = self.get(name)
        parameters = inspect.signature(cls).parameters
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            for option in options:
                if option not in parameters:
                    near = difflib.get_close_matches(option, parameters, n=1)
                    hint = (
                        f"did you mean {near[0]!r}?"
                        if near
                        else f"it takes {', '.join(parameters) or 'none'}"
                    )
                    raise TypeError(f"modality {name!r} has no option {option!r}: {hint}")
        return cls(**options)


_registry = Registry()
register = _registry.register
names = _registry.names
get = _registry.get
create = _registry.create
