"""Farthest point sampling here and in open3d, in turns on one core: `python tools/bench_farthest.py`.

Random clouds on a sphere; open3d's legacy call starts from our array, so that its conversion counts. Printed are medians of
CPU milliseconds a cloud, for one cloud and for a batch (open3d in a loop), and ours divided by open3d's. open3d gives the
same set without its order.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring.timing import in_turns
from torch import Tensor
from torch.nn import functional as F

from modalities.pointcloud.sample import farthest
from unitok.command import command
from unitok.eval.provenance import provenance


def theirs(clouds: Tensor, count: int) -> list[Any]:
    """Chosen points of each cloud, by open3d."""
    import open3d as o3d

    made = []
    for cloud in clouds.numpy():
        held = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.astype(np.float64)))
        made.append(np.asarray(held.farthest_point_down_sample(count).points))
    return made


def compare(points: int, count: int, batch: int, repeats: int) -> dict[str, Any]:
    """Milliseconds a cloud of either side, their ratio, and whether the first cloud's sets are the same."""
    clouds = F.normalize(torch.randn(batch, points, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    ways = {"ours": lambda: farthest(clouds, count, first=0), "open3d": lambda: theirs(clouds, count)}
    taken = {name: 1000 * clock.cpu / batch for name, clock in in_turns(ways, repeats).items()}
    own = clouds[0][farthest(clouds[:1], count, first=0)[0]].numpy()
    same = np.array_equal(np.unique(own, axis=0), np.unique(theirs(clouds[:1], count)[0].astype("f"), axis=0))
    return {
        "points": points,
        "chosen": count,
        "batch": batch,
        "CPU ms a cloud": taken,
        "ratio": taken["ours"] / taken["open3d"],
        "same set": same,
    }


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and give back the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=8192)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="write everything as JSON, too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = [compare(options.points, options.count, batch, options.repeats) for batch in options.batches]
    for row in found:
        print(json.dumps(row, indent=2))
    if options.out:
        options.out.write_text(json.dumps({**provenance(), "rows": found}, indent=2))
    return found


if __name__ == "__main__":
    command(main)
