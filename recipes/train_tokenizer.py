"""Train the tokenizer of a modality: `deepspeed recipes/train_tokenizer.py CONFIG.toml [key=value ...]`.

Also runs without the launcher, as one process. Dotted overrides come after the file: `train.steps=200`.
Fidelity is printed beside what simple ways reach on the same held-out items. A run resumes by itself; the
weights and the figures are written to `output`.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field

from modalities.common.settings import Settings, parse
from modalities.common.trainer import TrainSettings, train
from unitok import registry
from unitok.command import command


class TokenizerRun(Settings):
    """The TOML file. `model` and `data` are read by the tokenizer itself."""

    tokenizer: str = Field(description="registry name, such as image.titok")
    run: Path = Field(description="folder of checkpoints and log, relative to the working folder")
    output: Path = Field(description="the .safetensors to write, relative to the working folder")
    model: dict[str, Any] = {}
    data: dict[str, Any]
    train: TrainSettings = TrainSettings()
    deepspeed: dict[str, Any] = {}


def load(path: Path, overrides: list[str]) -> TokenizerRun:
    """Read the file and apply `a.b=value` overrides (the value is TOML, or else a string)."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        key, _, value = override.partition("=")
        *tables, last = key.split(".")
        table = tree
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ValueError(f"override {override!r}: {name!r} is a value, not a table")
        try:
            table[last] = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            table[last] = value
    return parse(TokenizerRun, tree, str(path))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, and give back the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", type=Path, nargs="?", default=Path("recipes/configs/tokenizer/image64.toml")
    )
    parser.add_argument("overrides", nargs="*", help="key=value")
    parser.add_argument("--local_rank", type=int, help="given by the launcher; not used")
    options = parser.parse_args(arguments)
    run = load(options.config, options.overrides)
    build = getattr(registry.get(run.tokenizer), "training_task", None)
    if build is None:
        raise ValueError(f"{run.tokenizer} is not trained by this recipe: its class has no training_task()")
    task = build(run.model, run.data, options.config.parent)
    return train(task, run.train, run=run.run, output=run.output, deepspeed_extra=run.deepspeed)


if __name__ == "__main__":
    command(main)
