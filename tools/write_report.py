"""Write the report of a finished run again: `python tools/write_report.py runs/demo`.

Overrides change the resolved configuration: `python tools/write_report.py runs/demo report.tokens=50000`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from unitok.command import command
from unitok.config import load
from unitok.eval.report import Trained, write
from unitok.run import CONFIG, Run, reopen


def main(arguments: Sequence[str] | None = None) -> Path:
    """Open the run, measure, generate, write; returns where the page is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of a finished run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted keys of its configuration")
    options = parser.parse_args(arguments)
    _, decoder = reopen(options.folder)
    run = Run.of(load(options.folder / CONFIG, options.overrides))
    if run.config.report is None:
        parser.error(f"{options.folder} has no [report] table in its {CONFIG}: add one to say what to show")
    trained = Trained.of(options.folder, run.config.data.seq_len)
    parts = (run.vocabulary, run.modalities, run.stores("train"), run.stores("heldout"))
    page = write(options.folder, run.config.report, trained, decoder, *parts)
    print(f"report: {page}")
    return page


if __name__ == "__main__":
    command(main)
