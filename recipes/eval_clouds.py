"""How well a point tokenizer gives clouds back: `python recipes/eval_clouds.py --data FILE.npz --out report.json`.

Each cloud's points are cut in two samplings: one is encoded, the other is what decoded clouds are compared with, so that
the distance of the two is the floor. With labels and a training array the report tells what codes and reconstructions
keep of the class; with --generated (an .npz, or a folder of files) MMD, coverage and 1-NNA of generated clouds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from modalities.pointcloud.data import from_npz
from modalities.pointcloud.metrics.peer import beside
from modalities.pointcloud.metrics.reconstruction import COUNTS, evaluate
from modalities.pointcloud.metrics.report import classes, even, generated, halves, page, read_set, sheet
from modalities.pointcloud.peers.training import load_peer
from modalities.pointcloud.sample import unit_sphere
from modalities.pointcloud.tokenizer import DEFAULT, PointTokenizer
from unitok.command import command
from unitok.eval.provenance import provenance


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--weights", default=DEFAULT, help="name or path of the tokenizer's weights")
    out.add_argument("--data", type=Path, required=True, help=".npz with points [n, N, 3] or voxels")
    out.add_argument("--array", default="", help="its array: points_test, vox_test")
    out.add_argument("--labels", default="", help="its classes: label_test")
    out.add_argument("--train-array", default="", help="clouds that the probe and the classifier learn from")
    out.add_argument("--train-labels", default="", help="their classes")
    out.add_argument("--most", type=int, default=0, help="at most so many clouds, evenly chosen; 0: all")
    out.add_argument("--counts", type=int, nargs="*", default=list(COUNTS), help="numbers of codes")
    out.add_argument("--steps", type=int, default=600, help="training steps of the classifier")
    out.add_argument("--peer", type=Path, help="weights of the patch dVAE, to stand in the same table")
    out.add_argument("--generated", type=Path, help="generated clouds: .npz or folder")
    out.add_argument("--points", type=int, default=512, help="of each cloud of the sets that are compared")
    out.add_argument("--rows", type=int, default=8, help="clouds that are drawn")
    out.add_argument("--out", type=Path, default=Path("clouds.json"), help="report; .png and .html go beside")
    return out


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Evaluate, write the report and give it back."""
    args = parser().parse_args(arguments)
    if args.out.suffix != ".json":
        raise ValueError(f"--out {args.out}: name a .json file; the picture and the page go beside it")
    for name, least in (("most", 0), ("steps", 0), ("points", 1), ("rows", 1)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} {getattr(args, name)}: give at least {least}")
    if args.train_array and not (args.labels and args.train_labels):
        raise ValueError("--train-array needs --labels and --train-labels: classes are told with labels")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    made = None if args.generated is None else read_set(args.generated, args.points)
    test = from_npz(args.data, args.array, args.labels, sampled=2048)
    if made is not None and args.points > test.points.shape[1] // 2:
        raise ValueError(
            f"--points {args.points}: half of each cloud is compared with, {test.points.shape[1] // 2} points"
        )
    if args.most:
        test = test.take(even(len(test.points), args.most))
    tokenizer = PointTokenizer(args.weights)
    given, others = halves(test.points)
    found = evaluate(tokenizer, given, others, args.counts)
    if args.peer is not None:
        found.report["peer"] = {"weights": args.peer.name, **beside(load_peer(args.peer), given, others)}
    report = {"weights": str(args.weights), "data": args.data.name, "reconstruction": found.report}
    report |= {"classes": None, "generation": None, **provenance()}
    if args.train_array:
        train = from_npz(args.data, args.train_array, args.train_labels, sampled=2048, seed=1)
        if args.most:
            train = train.take(even(len(train.points), 4 * args.most))
        report["classes"] = classes(tokenizer, train, test, found, args.steps)
    if made is not None:
        reference = unit_sphere(others.float()).points
        report["generation"] = generated(made, reference[:, : args.points])
    picture = sheet(given, found, made, args.rows)
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    picture.save(args.out.with_suffix(".png"))
    args.out.with_suffix(".html").write_text(page(report, picture), encoding="utf-8")
    print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    command(main)
