"""Talk with a trained run: `python recipes/chat.py runs/seed_llama/instruct_demo`.

Everything said, drawn or built stays in context: "Draw a cat.", then "What did you draw?". A line may hold items of
any block by reference: "What is this? {image:photo.png}". Text streams to the terminal; pictures, molecules and
clouds that the model writes go to `--out`. Lines that begin with / are commands; /help lists them.
In scripts: `python recipes/chat.py RUN --say "Draw a cat." --say "What did you draw?" --say "/save cat.json"`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from unitok.command import command
from unitok.generate import Sampler
from unitok.generate.console import answer
from unitok.generate.console import command as do
from unitok.generate.conversation import Conversation
from unitok.generate.guidance import strengths
from unitok.generate.prompt import budget
from unitok.run import reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"), help="folder of a finished run")
    out.add_argument("--say", action="append", metavar="LINE", help="say this, then the next; no terminal")
    out.add_argument("--system", default="", help="what to say before")
    out.add_argument(
        "--budget", nargs="+", default=["160"], metavar="N", help="most ids of an answer, or image=64"
    )
    out.add_argument(
        "--limit", type=int, help="most positions of context and answer; as trained, if not given"
    )
    out.add_argument("--temperature", type=float, default=0.7, help="0 takes the likeliest id")
    out.add_argument("--top-p", type=float, default=1.0, help="choose among the fewest that hold this share")
    out.add_argument("--guidance", nargs="*", default=[], metavar="BLOCK=SCALE", help="as in image=2.0")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--out", type=Path, default=Path("chat"), help="folder for what the model writes")
    return out


def lines(given: list[str] | None) -> Iterator[str]:
    """What the user says: the lines given, or those typed until the end of input."""
    if given is not None:
        for line in given:
            print(f"> {line}")
            yield line
        return
    while True:
        try:
            yield input("> ")
        except EOFError:
            return print()
        except UnicodeDecodeError as error:
            print(f"error: {error}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Talk until the lines end."""
    options = parser().parse_args(arguments)
    run, decoder = reopen(options.run)
    if sum(weight.numel() for weight in decoder.parameters()) < 20e6:
        torch.set_num_threads(1)  # more threads only wait for one another in so small a model
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    how = {"temperature": options.temperature, "top_p": options.top_p, "budget": budget(options.budget)}
    how["guidance"] = strengths(options.guidance)
    limit = run.config.data.seq_len if options.limit is None else options.limit
    talk = Conversation(sampler, limit, options.system, options.seed, **how)
    for line in filter(str.strip, lines(options.say)):
        try:
            print(do(talk, line)) if line.startswith("/") else answer(talk, line, options.out)
        except (ValueError, OSError) as error:
            if options.say is not None:
                raise
            print(f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    command(main)
