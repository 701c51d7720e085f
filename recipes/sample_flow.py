"""Draw captions and describe pictures with FlowTok's flow.

    python recipes/sample_flow.py FLOW.safetensors --weights flowtok64.safetensors --captions "a red apple" "a dog"
    python recipes/sample_flow.py FLOW.safetensors --weights flowtok64.safetensors --pictures a.png b.png
    python recipes/sample_flow.py FlowTok-XL.pth --weights FlowTiTok_512.bin --clip clip-vit-large-patch14-336/ --captions "a fox"

A released flow reads captions through the folder of a CLIP (--clip), and has no decoder for descriptions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from modalities.image.figures import contact_sheet
from modalities.image.flow.pair import Pair
from unitok import registry
from unitok.command import command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("flow", type=Path, help="weights of recipes/train_flow.py, or a released file")
    out.add_argument("--tokenizer", default="image.flowtok", help="registry name")
    out.add_argument("--weights", required=True, help="the tokenizer's")
    out.add_argument("--clip", type=Path, help="folder of a CLIP, for flows that read its states")
    out.add_argument("--captions", nargs="+", default=[], help="what to draw")
    out.add_argument("--pictures", nargs="+", type=Path, default=[], help="what to describe")
    out.add_argument("--guidance", type=float, help="1 = none; the flow's own if not given")
    out.add_argument("--steps", type=int, help="of Euler's method; the flow's own if not given")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--out", type=Path, default=Path("sheet.png"), help="the sheet of what was drawn")
    return out


def main(arguments: list[str] | None = None) -> list[str]:
    """Draw, describe, and give back the descriptions."""
    options = parser().parse_args(arguments)
    if not options.captions and not options.pictures:
        raise ValueError("nothing to do: give --captions to draw, or --pictures to describe")
    pair = Pair(options.flow, registry.create(options.tokenizer, weights=options.weights), options.clip)
    if options.captions:
        how = {"guidance": options.guidance, "steps": options.steps, "seed": options.seed}
        contact_sheet(pair.draw(options.captions, **how), options.captions).save(options.out)
        print(f"wrote {options.out}: {len(options.captions)} pictures")
    found = pair.describe([pair.tokenizer.load(path) for path in options.pictures])
    for path, caption in zip(options.pictures, found, strict=True):
        print(f"{path}: {caption}")
    return found


if __name__ == "__main__":
    command(main)
