"""Train the patch dVAE after Point-BERT, the peer of the point tokenizer: `python tools/train_patch_dvae.py [CONFIG.toml] [key=value ...]`.

It is no modality, for its decoder is given the patches' centres beside the codes, so `recipes/train_tokenizer.py` does not
know it; data, settings, resuming and the files written are the same. `recipes/eval_clouds.py --peer` measures it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from modalities.common.trainer import TrainSettings, train
from modalities.pointcloud.peers.training import PatchTask
from unitok.command import command
from unitok.strict import Strict, named, read, validate

DEFAULT = Path(__file__).parents[1] / "recipes" / "configs" / "pointcloud" / "dvae.toml"


class PeerRun(Strict):
    """The TOML file. `model`, `data` and `loss` are read by the task."""

    run: Path = Field(description="folder of checkpoints and metrics, relative to the working folder")
    output: Path = Field(description="the .safetensors to write, relative to the working folder")
    model: dict[str, Any] = {}
    data: dict[str, Any]
    loss: dict[str, Any] = {}
    train: TrainSettings = TrainSettings()


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, and give back the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="CONFIG.toml key=value")
    path, overrides = named(parser.parse_args(arguments).words, DEFAULT)
    run = validate(PeerRun, read(path, overrides), str(path))
    torch.manual_seed(run.train.seed)  # the network is built at random
    task = PatchTask(run.model, run.data, path.parent, run.loss)
    return train(task, run.train, run=run.run, output=run.output)


if __name__ == "__main__":
    command(main)
