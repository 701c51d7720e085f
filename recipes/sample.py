"""Ask a trained run: `python recipes/sample.py runs/demo --prompt "Draw a cat." --first image --guidance image=4`.

A prompt may hold items by reference: "What is this? {image:photo.png}", "Describe {molecule:CCO}.". The
answer streams to the terminal; items that the model writes are saved to `--out`, with a picture of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from unitok.command import command
from unitok.generate import Sampler
from unitok.generate.console import keep, printable
from unitok.generate.guidance import strengths
from unitok.generate.prompt import budget, chat
from unitok.run import reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"), help="folder of a finished run")
    out.add_argument("--prompt", required=True, help="what to ask, with {block:file or item} references")
    out.add_argument("--system", default="", help="what to say before")
    out.add_argument(
        "--budget", nargs="+", default=["256"], metavar="N", help="most ids of the answer, or image=64"
    )
    out.add_argument("--temperature", type=float, default=1.0, help="0 takes the likeliest id")
    out.add_argument("--top-k", type=int, default=0, help="choose among that many likeliest ids; 0 = all")
    out.add_argument("--top-p", type=float, default=1.0, help="choose among the fewest that hold this share")
    out.add_argument("--guidance", nargs="*", default=[], metavar="BLOCK=SCALE", help="as in image=4.0")
    out.add_argument("--produce", nargs="*", help="blocks that may be written; all, if not given")
    out.add_argument("--forbid", nargs="*", default=[], help="blocks that may not be written")
    out.add_argument("--first", help="block that the answer must begin with")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--out", type=Path, default=Path("samples"), help="folder for what the model writes")
    return out


def main(arguments: list[str] | None = None) -> None:
    """Stream one answer."""
    options = vars(parser().parse_args(arguments))
    prompt, system, out = options.pop("prompt"), options.pop("system"), options.pop("out")
    run, decoder = reopen(options.pop("run"))
    if sum(weight.numel() for weight in decoder.parameters()) < 20e6:
        torch.set_num_threads(1)  # more threads only wait for one another in so small a model
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    options["budget"], options["guidance"] = budget(options["budget"]), strengths(options["guidance"])
    document = chat(prompt, run.modalities, system, options["budget"])
    count = 0
    for event in sampler.stream(document, **options):
        if event[0] == "text":
            print(printable(event[1]), end="", flush=True)
        elif event[0] == "begin":
            print(f"[{event[1]} ", end="", flush=True)
        elif event[0] == "end":
            count += 1
            print(
                keep(run.modalities[event[1]], event[2], out / f"{count:02d}-{event[1]}"), end="]", flush=True
            )
    print()


if __name__ == "__main__":
    command(main)
