"""How well a tokenizer gives pictures back: `python recipes/eval_reconstruction.py --images FOLDER --out report.json`.

Writes PSNR, SSIM, a perceptual measure and a Frechet distance under their names, how the codes are used, bits
per image and images per second; beside it a picture, original | reconstruction. LPIPS and FID need released
weights (--backbones, --inception); without them fixed filters stand in, under their own names. --budgets 1 4 16
also judges the first codes alone, where codes are nested.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from modalities.common.losses.perceptual import BACKBONES, Perceptual
from modalities.image.fidelity import feature_space
from modalities.image.reconstruction import evaluate, figure
from unitok import registry
from unitok.command import command


def option(text: str) -> tuple[str, Any]:
    """The two sides of "seed=3"; the right one is JSON, or else a plain string."""
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument(
        "options", nargs="*", type=option, metavar="KEY=VALUE", help="options of the tokenizer, in JSON"
    )
    out.add_argument("--modality", default="image.titok", help="registry name of the tokenizer")
    out.add_argument("--weights", help="name or path of its weights; its default if not given")
    out.add_argument("--images", type=Path, required=True, help="folder, .tar (WebDataset) or .jsonl file")
    out.add_argument(
        "--out", type=Path, default=Path("report.json"), help="report to write; a .png goes beside"
    )
    out.add_argument("--device", default="cpu", help="where the tokenizer and the measures run, as in cuda")
    out.add_argument("--batch", type=int, default=16, help="pictures at a time")
    out.add_argument("--pairs", type=int, default=12, help="pictures shown beside their reconstructions")
    out.add_argument("--budgets", type=int, nargs="+", default=[], help="judge the first codes alone, too")
    out.add_argument("--perceptual", choices=sorted(BACKBONES), default="lpips", help="perceptual measure")
    out.add_argument("--backbones", type=Path, help="folder with the released weights of that measure")
    out.add_argument("--inception", type=Path, help="pt_inception-2015-12-05-6726825d.pth, for FID")
    return out


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Evaluate, write the report and give it back."""
    args = parser().parse_args(arguments)
    if args.out.suffix == ".png":
        raise ValueError(f"--out {args.out} is the place of the picture: name the report, as in report.json")
    if args.batch < 1:
        raise ValueError(f"--batch {args.batch}: give at least 1")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    options = dict(args.options) | ({} if args.weights is None else {"weights": args.weights})
    options |= {} if args.device == "cpu" else {"device": args.device}
    tokenizer = registry.create(args.modality, **options)
    measure = Perceptual({args.perceptual: 1.0}, args.backbones).to(args.device)
    space = feature_space(args.inception, args.device)
    columns = (SpinnerColumn(), TextColumn("{task.completed} pictures"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=None)
        found = evaluate(
            tokenizer, args.images, measure, space, batch=args.batch, keep=args.pairs, budgets=args.budgets,
            device=args.device, seen=lambda count: bar.update(task, completed=count),
        )  # fmt: skip
    report = {"modality": args.modality, **options, "images": str(args.images), **found.report}
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if found.pairs:
        figure(found.pairs, lengths=found.lengths).save(args.out.with_suffix(".png"))
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    command(main)
