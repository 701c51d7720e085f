"""Where a report goes: checked before the work that it reports.

prepare(parser().parse_args(), "out", "html")
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path


def prepare(options: Namespace, *written: str) -> None:
    """Make the folders of the files that will be written.

    Args:
        options: a command line; what else is a path in it is read and must stay as it is.
        written: names of the options that are files to write; those that are None are not.

    Raises:
        ValueError: a file to write is a folder, is read too, or is written twice; the option is named.
        OSError: its folder cannot be made.
    """
    paths = {name: path for name, path in vars(options).items() if isinstance(path, Path)}
    taken = {path.resolve(): name for name, path in paths.items() if name not in written}
    for name in written:
        if name not in paths:
            continue
        path = paths[name]
        if path.is_dir():
            raise ValueError(f"--{name} {path} is a folder: name a file")
        other = taken.setdefault(path.resolve(), name)
        if other != name:
            raise ValueError(f"--{name} {path} is --{other.replace('_', '-')}, too: name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
