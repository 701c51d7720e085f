"""Teach a frozen model of language, vision or audio to classify clouds: `deepspeed recipes/adapt_pointcloud.py CONFIG.toml`.

Any2Point with adapters, see docs/pointclouds.md. Dotted overrides come after the file: `train.steps=200`. Also
runs without the launcher, as one process; a run resumes by itself. Weights are chosen on a part of the
training data; the report beside `output` has the test accuracy, that of each class, and what other rules would have told.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from modalities.pointcloud.any2point.run import AdaptRun, adapt
from unitok.command import command
from unitok.eval.provenance import provenance
from unitok.strict import named, read, validate

DEFAULT = Path(__file__).parent / "configs" / "pointcloud" / "any2point.toml"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, print the accuracy, and give back the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="CONFIG.toml key=value")
    parser.add_argument("--local_rank", type=int, help="given by the launcher; not used")
    path, overrides = named(parser.parse_args(arguments).words, DEFAULT)
    run = validate(AdaptRun, read(path, overrides), str(path))
    report = adapt(run, path.parent, provenance())
    if report:
        print(f"test accuracy {report['accuracy']:.4f} ({report['chosen']['rule']})")
        for rule, share in report["other rules"].items():
            print(f"  {rule}: {share:.4f}")
        print(f"wrote {run.output} and {run.output.with_suffix('.json').name}")
    return report


if __name__ == "__main__":
    command(main)
