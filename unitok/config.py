"""One TOML file is one run: strict, inheritable, overridable from the command line. No torch here.

How a file, its `base` and the overrides become a tree is `unitok.strict`'s business; here stands what a run is
made of. The resolved configuration is saved with the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from unitok.data.config import DataConfig
from unitok.eval.config import ReportConfig
from unitok.model.config import ModelSection
from unitok.strict import ConfigError, Strict, named, read, validate
from unitok.train.config import TrainConfig

__all__ = ["ConfigError", "ModalityConfig", "RunConfig", "dump", "from_words", "load", "parse"]


class ModalityConfig(BaseModel):
    """One block of the vocabulary: which modality, with which options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str = Field(description="registry name, as in `unitok.names()`")
    stacked: bool = Field(False, description="the codes of a position share one place in the sequence")

    @property
    def options(self) -> dict[str, Any]:
        """What is passed to the modality."""
        return dict(self.model_extra or {})


class RunConfig(Strict):
    """A whole run. Every table is optional but the vocabulary and the data."""

    run: str = Field("runs/default", description="folder of the run: checkpoints, metrics, model, report")
    root: str = Field(".", description="folder that relative paths of the data start from; set when loading")
    vocabulary: dict[str, ModalityConfig] = Field(
        min_length=1, description="block name -> modality, text first"
    )
    model: ModelSection = Field(default_factory=ModelSection)
    data: DataConfig
    train: TrainConfig = Field(default_factory=TrainConfig)
    deepspeed: dict[str, Any] = Field(default_factory=dict, description="raw DeepSpeed keys, merged last")
    report: ReportConfig | None = Field(None, description="what the report shows; absent: no report")


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's TOML file.

    Args:
        path: the file.
        overrides: "dotted.key=value"; the value is TOML, or else a plain string.

    Raises:
        ConfigError: a missing file, broken TOML, an unknown key or a value of the wrong kind.
    """
    path = Path(path)
    tree = read(path, overrides)
    tree.setdefault("root", str(path.resolve().parent))
    return parse(tree, where=str(path))


def from_words(words: Sequence[str], default: str | Path) -> RunConfig:
    """What a recipe's command line names: a file (`default` if the first word is an override), then overrides."""
    return load(*named(words, default))


def parse(tree: Mapping[str, Any], where: str = "configuration") -> RunConfig:
    """Check a tree of plain values and make it a RunConfig."""
    return validate(RunConfig, tree, where)


def dump(config: RunConfig) -> str:
    """The resolved configuration as TOML; `load` reads it back."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
