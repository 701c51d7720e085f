"""Train a generator of image codes: `deepspeed recipes/train_generator.py CONFIG.toml [key=value ...]`.

A generator (maskgit, rar, …) learns to write the codes of a tokenizer for a class. Also runs without the
launcher, as one process; a run resumes by itself. `python recipes/sample_images.py` draws what it learnt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn

from modalities.image.generate.training import GeneratorRun, train
from unitok.command import command
from unitok.strict import named, read, validate

DEFAULT = Path(__file__).parent / "configs" / "image" / "maskgit64.toml"


def main(arguments: list[str] | None = None) -> nn.Module:
    """Train, and give the generator back."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="CONFIG.toml key=value")
    parser.add_argument("--local_rank", type=int, help="given by the launcher; not used")
    path, overrides = named(parser.parse_args(arguments).words, DEFAULT)
    run = validate(GeneratorRun, read(path, overrides), str(path))
    return train(run, path.parent)


if __name__ == "__main__":
    command(main)
