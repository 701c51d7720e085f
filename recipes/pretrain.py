"""Train one LLM over all modalities of a configuration, and write the report.

    deepspeed recipes/pretrain.py                                   the demo: recipes/configs/demo.toml
    deepspeed --num_gpus 2 recipes/pretrain.py my.toml train.steps=5000 deepspeed.zero_optimization.stage=3

Data is tokenized once and cached; a run that was stopped goes on by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unitok.command import command
from unitok.config import from_words
from unitok.distributed import is_main
from unitok.eval.report import Trained, write
from unitok.run import Run, reopen


def main(arguments: list[str] | None = None) -> None:
    """Tokenize, train, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="config.toml key=value", help="configuration, then overrides"
    )
    parser.add_argument("--local_rank", type=int, help="set by the launcher")
    options = parser.parse_args(arguments)
    config = from_words(options.words, Path(__file__).parent / "configs" / "demo.toml")
    from unitok.train.engine import start  # brings DeepSpeed: here, a missing one is one sentence

    start()  # join the other ranks, or a world of one
    run = Run.of(config)
    train, heldout = run.stores("train"), run.stores("heldout")
    run.trainer(train, heldout).fit()
    if config.report is not None:
        trained = Trained.of(run.folder, config.data.seq_len)
        _, decoder = reopen(run.folder)
        page = write(
            run.folder, config.report, trained, decoder, run.vocabulary, run.modalities, train, heldout
        )
        if is_main():
            print(f"report: {page}")


if __name__ == "__main__":
    command(main)
