"""Train the tokenizer of a modality: `deepspeed recipes/train_tokenizer.py CONFIG.toml [key=value ...]`.

Also runs without the launcher, as one process. Dotted overrides come after the file: `train.steps=200`.
Fidelity is printed beside what simple ways reach on the same held-out items. A run resumes by itself; the
weights and the figures are written to `output`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from modalities.common.trainer import TrainSettings, train
from unitok import registry
from unitok.command import command
from unitok.strict import Strict, named, read, validate

DEFAULT = Path(__file__).parent / "configs" / "image" / "emoji64.toml"


class TokenizerRun(Strict):
    """The TOML file. `model`, `data` and `loss` are read by the tokenizer itself."""

    tokenizer: str = Field(description="registry name, such as image.titok")
    run: Path = Field(description="folder of checkpoints and metrics, relative to the working folder")
    output: Path = Field(description="the .safetensors to write, relative to the working folder")
    model: dict[str, Any] = {}
    data: dict[str, Any]
    loss: dict[str, Any] = {}
    init: Path | None = Field(None, description="weights of an earlier stage, relative to the working folder")
    freeze: tuple[str, ...] = Field((), description="parts of the network that stay as they are")
    train: TrainSettings = TrainSettings()
    deepspeed: dict[str, Any] = {}


def load(path: Path, overrides: Sequence[str] = ()) -> TokenizerRun:
    """The file with its bases, below `a.b=value` overrides."""
    return validate(TokenizerRun, read(path, overrides), str(path))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, and give back the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="CONFIG.toml key=value")
    parser.add_argument("--local_rank", type=int, help="given by the launcher; not used")
    options = parser.parse_args(arguments)
    path, overrides = named(options.words, DEFAULT)
    run = load(path, overrides)
    build = getattr(registry.get(run.tokenizer), "training_task", None)
    if build is None:
        raise ValueError(f"{run.tokenizer} is not trained by this recipe: its class has no training_task()")
    torch.manual_seed(run.train.seed)  # the network is built at random
    task = build(run.model, run.data, path.parent, *([run.loss] if run.loss else []))
    extra = run.deepspeed
    return train(
        task,
        run.train,
        run=run.run,
        output=run.output,
        deepspeed_extra=extra,
        init=run.init,
        freeze=run.freeze,
    )


if __name__ == "__main__":
    command(main)
