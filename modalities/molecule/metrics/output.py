"""Where a report goes: JSON, a page beside it, and the terminal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def arguments(out: argparse.ArgumentParser, name: str, page: str) -> None:
    """The options --out, --html and --rows.

    Args:
        out: takes them.
        name: of the report unless another is given.
        page: what the page shows side by side.
    """
    out.add_argument("--out", type=Path, default=Path(name), help="report to write")
    out.add_argument("--html", type=Path, help=f"page to write: {page} side by side")
    out.add_argument("--rows", type=int, default=50, help="rows that the page shows")


def ready(options: argparse.Namespace) -> None:
    """Make the folders of what will be written, before minutes are spent on it.

    Raises:
        ValueError: a name that is a folder, one name for both, or a negative number of rows.
    """
    if options.rows < 0:
        raise ValueError(f"--rows {options.rows}: give 0 or more")
    if options.html and options.html.absolute() == options.out.absolute():
        raise ValueError(f"--out and --html are both {options.out}: give two names")
    for path in filter(None, (options.out, options.html)):
        if path.is_dir():
            raise ValueError(f"{path} is a folder: name a file in it")
        path.parent.mkdir(parents=True, exist_ok=True)


def put(report: dict[str, Any], page: Callable[[], str], options: argparse.Namespace) -> dict[str, Any]:
    """Write the report, and the page if one is wanted; print the report and give it back."""
    said = json.dumps(report, indent=2, ensure_ascii=False)
    options.out.write_text(said + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(page(), encoding="utf-8")
    print(said)
    return report
