"""Make a checkpoint readable by any number of ranks.

    python tools/to_universal.py runs/demo              # the newest checkpoint of the run
    python tools/to_universal.py runs/demo --step 120

Writes `checkpoints/step_N_universal` beside `step_N`, by DeepSpeed's own conversion. A run that is started
with another number of ranks then goes on from it by itself, and saves ordinary checkpoints again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from unitok.command import command
from unitok.train.checkpoint import MANIFEST, UNIVERSAL, CheckpointError, Checkpoints, complete, read, seal


def convert(path: Path) -> Path:
    """Convert one checkpoint; the new one appears when it is complete.

    Raises:
        CheckpointError: it is incomplete, needs no conversion, or DeepSpeed refuses it.
    """
    if not complete(path):
        raise CheckpointError(f"{path} is no complete checkpoint: choose another with --step")
    manifest = read(path)
    if manifest.stage == 0:
        raise CheckpointError(f"{path} was saved under ZeRO 0, which any number of ranks reads as it is")
    result = path.with_name(path.name + UNIVERSAL)
    aside = result.with_name(result.name + ".tmp")
    for old in (aside, result):
        shutil.rmtree(old, ignore_errors=True)
    tool = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
    command = [*tool, "--input_folder", str(path), "--output_folder", str(aside)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(aside, ignore_errors=True)
        raise CheckpointError(f"{path} could not be converted: {done.stderr.strip().splitlines()[-1:]}")
    for kept in path.glob("*.json"):
        if kept.name != MANIFEST:
            shutil.copy2(kept, aside)
    seal(aside, replace(manifest, world=0))
    aside.rename(result)
    (path.parent / "latest_universal").write_text(result.name, encoding="utf-8")
    return result


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--step", type=int, help="which checkpoint; the newest if not given")
    options = parser.parse_args()
    folder = options.run / "checkpoints"
    newest = Checkpoints(folder).newest()
    path = folder / f"step_{options.step:08d}" if options.step is not None else newest
    if path is None:
        raise CheckpointError(
            f"{folder} holds no complete checkpoint: give the folder of a run that has saved one"
        )
    plain = path.with_name(path.name.removesuffix(UNIVERSAL))
    print(f"wrote {convert(plain)}")


if __name__ == "__main__":
    command(main)
