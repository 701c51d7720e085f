"""Train FlowTok's flow between captions and pictures: `deepspeed recipes/train_flow.py CONFIG.toml [key=value ...]`.

Captioned pictures are encoded once by a tokenizer with continuous latents, and a flow learns the way from their
captions to them; `python recipes/sample_flow.py` draws captions and describes pictures. Also runs without the
launcher, as one process. Retrieval among held-out pairs is printed beside chance. A run resumes by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from modalities.common.trainer import TrainSettings, train
from modalities.image.flow.training import FlowTask
from unitok.command import command
from unitok.strict import Strict, named, read, validate

DEFAULT = Path(__file__).parent / "configs" / "image" / "flow64.toml"


class FlowRun(Strict):
    """The TOML file. `model`, `data` and `loss` are read by `modalities.image.flow.training`."""

    run: Path = Field(description="folder of checkpoints and metrics, relative to the working folder")
    output: Path = Field(description="the .safetensors to write, relative to the working folder")
    model: dict[str, Any] = {}
    data: dict[str, Any]
    loss: dict[str, Any] = {}
    init: Path | None = Field(None, description="weights of an earlier stage, relative to the working folder")
    freeze: tuple[str, ...] = Field((), description="parts that stay as they are, as in reader and projector")
    train: TrainSettings = TrainSettings()
    deepspeed: dict[str, Any] = {}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, and give back the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="CONFIG.toml key=value")
    parser.add_argument("--local_rank", type=int, help="given by the launcher; not used")
    path, overrides = named(parser.parse_args(arguments).words, DEFAULT)
    run = validate(FlowRun, read(path, overrides), str(path))
    torch.manual_seed(run.train.seed)  # the network is built at random
    task = FlowTask(run.model, run.data, path.parent, run.loss)
    return train(
        task,
        run.train,
        run=run.run,
        output=run.output,
        deepspeed_extra=run.deepspeed,
        init=run.init,
        freeze=run.freeze,
    )


if __name__ == "__main__":
    command(main)
