"""Clouds that a run shapes: `python recipes/sample_clouds.py runs/shapes --data data/rooms/shapes.jsonl --out shapes.npz`.

Records whose last turn is a cloud are asked, those that are not for training, each --each times. OUT gets the clouds as
`points` [n, N, 3], what was `asked`, and `reference` [m, M, 3], the records' own clouds; a picture beside it shows these
at the left and the run's in the same row. How alike the two sets are:

    python recipes/eval_clouds.py --data shapes.npz --array reference --generated shapes.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from modalities.pointcloud import io
from modalities.pointcloud.render import grid, render
from modalities.pointcloud.sample import stride
from unitok.command import command
from unitok.data.encode import resolve
from unitok.data.sources import Record, read
from unitok.eval.replies import replies
from unitok.generate import Sampler
from unitok.run import reopen


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("run", type=Path, help="folder of a finished run")
    out.add_argument("--data", type=Path, required=True, help="records with turns that end with a cloud")
    out.add_argument("--kind", default="named", help="which of them, so that each cloud is asked for once")
    out.add_argument("--block", default="cloud", help="the run's block of clouds")
    out.add_argument("--each", type=int, default=1, help="clouds for each")
    out.add_argument("--temperature", type=float, default=1.0, help="0 takes the likeliest code")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--rows", type=int, default=8, help="records that are drawn")
    out.add_argument("--out", type=Path, default=Path("clouds.npz"), help="clouds; a .png goes beside")
    return out


def main(arguments: list[str] | None = None) -> dict[str, np.ndarray]:
    """Ask, decode, save."""
    options = parser().parse_args(arguments)
    if options.each < 1 or options.out.suffix != ".npz":
        raise ValueError(f"--each {options.each}, --out {options.out}: give 1 or more, and an .npz")
    run, decoder = reopen(options.run)
    if options.block not in run.vocabulary.blocks:
        raise ValueError(
            f"{options.run} has no block {options.block!r}: there are {', '.join(run.vocabulary.blocks)}"
        )
    records = [one for one in read(options.data) if isinstance(one, Record)]
    kept = [one for one in records if one.fields.get("kind") == options.kind]
    held = [one for one in kept if one.fields.get("split") != "train"]
    if not held:
        raise ValueError(
            f"{options.data}: {len(records)} records, of which {len(kept)} are of kind {options.kind!r} and none is held "
            "out: there is nothing to ask"
        )
    sampler, how = Sampler(decoder.eval(), run.vocabulary, run.modalities), {"budget": 4096}
    made, asked, answered = [], [], []
    for seed in range(options.seed, options.seed + options.each):
        answered = list(replies(sampler, held, seed=seed, temperature=options.temperature, **how))
        made += [io.as_cloud(reply.given[0]) for reply in answered]
        asked += ["".join(one for one in reply.asked if isinstance(one, str)) for reply in answered]
    right = [io.as_cloud(io.load(str(resolve(one.wanted[0], one.record.root)))) for one in answered]
    fewest = min(map(len, right))
    found = {
        "points": torch.stack(made).numpy(),
        "asked": np.array(asked),
        "reference": torch.stack([stride(cloud, fewest) for cloud in right]).numpy(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, **found)
    rows = [[cloud, *made[at :: len(held)]] for at, cloud in enumerate(right[: options.rows])]
    picture = grid([render(cloud) for row in rows for cloud in row], 1 + options.each)
    picture.save(options.out.with_suffix(".png"))
    print(f"wrote {options.out}: {len(made)} clouds for {len(held)} records")
    return found


if __name__ == "__main__":
    command(main)
