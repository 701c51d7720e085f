"""Draw pictures on a labelled sheet, from a generator of codes or from a run of the shared model.

    python recipes/sample_images.py --generator runs/maskgit64/maskgit64.safetensors --classes cat dog --each 4
    python recipes/sample_images.py --run runs/captions --prompts "a red apple" "two dogs" --guidance 4

A generator of `recipes/train_generator.py` knows its class names and its tokenizer; a released one takes
class numbers, and --kind, --tokenizer and --weights. A run writes pictures into an answer; --ask is what it
is asked, with {} for the prompt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from modalities.image.figures import contact_sheet
from modalities.image.generate.draw import draw
from unitok.command import command
from unitok.generate import Sampler
from unitok.generate.prompt import chat
from unitok.run import reopen
from unitok.segment import Segment


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = out.add_mutually_exclusive_group(required=True)
    source.add_argument("--generator", type=Path, help="weights of a generator")
    source.add_argument("--run", type=Path, help="folder of a finished run")
    out.add_argument("--kind", help="which generator a released file is of: maskgit, rar, …")
    out.add_argument(
        "--tokenizer", help="registry name of the generator's tokenizer, if its file does not say"
    )
    out.add_argument("--weights", help="the tokenizer's weights")
    out.add_argument("--classes", nargs="+", default=[], help="names or numbers of classes")
    out.add_argument("--prompts", nargs="+", default=[], help="what the run is asked to draw")
    out.add_argument("--ask", default="Draw this: {}", help="the question; {} stands for the prompt")
    out.add_argument("--block", default="image", help="the run's block of pictures")
    out.add_argument("--guidance", type=float, help="scale; the generator's own schedule if not given")
    out.add_argument("--temperature", type=float, default=1.0, help="of a run's sampling")
    out.add_argument("--budget", type=int, help="codes of each picture of a run, where codes are nested")
    out.add_argument("--each", type=int, default=1, help="pictures of each class or prompt")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--out", type=Path, default=Path("sheet.png"))
    return out


def of_run(options: argparse.Namespace) -> list[Image.Image]:
    """Pictures of prompts."""
    if "{}" not in options.ask:
        raise ValueError(
            f"--ask {options.ask!r} has no {{}}, so every prompt would ask the same: say where it goes"
        )
    run, decoder = reopen(options.run)
    sampler = Sampler(decoder.eval(), run.vocabulary, run.modalities)
    asked = [
        chat(options.ask.replace("{}", p), run.modalities)
        for p in options.prompts
        for _ in range(options.each)
    ]
    guidance = {options.block: options.guidance} if options.guidance is not None else {}
    answers = sampler.generate(
        asked, budget={"answer": 4096} | ({} if options.budget is None else {options.block: options.budget}), first=options.block, produce=[options.block], guidance=guidance,
        temperature=options.temperature, seed=options.seed,
    )  # fmt: skip
    codes = [next(p.codes for p in parts if isinstance(p, Segment)) for parts in answers]
    return run.modalities[options.block].decode(codes)


def main(arguments: list[str] | None = None) -> None:
    """Draw and save the sheet."""
    options = parser().parse_args(arguments)
    if options.each < 1:
        raise ValueError(f"--each {options.each}: give at least 1")
    wanted = options.classes if options.generator else options.prompts
    if not wanted:
        raise ValueError("nothing to draw: give --classes with a generator, or --prompts with a run")
    labels = [name for name in wanted for _ in range(options.each)]
    names = ("kind", "tokenizer", "weights", "guidance", "seed")
    how = {name: getattr(options, name) for name in names}
    pictures = draw(options.generator, labels, **how) if options.generator else of_run(options)
    contact_sheet(pictures, labels, columns=options.each if options.each > 1 else None).save(options.out)
    print(f"wrote {options.out}: {len(pictures)} pictures of {', '.join(wanted)}")


if __name__ == "__main__":
    command(main)
