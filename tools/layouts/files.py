"""Files as records refer to them: below the folder of the records, or reached through a link there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unitok.data.sources import BadRecord, Blob, Record, read

Reference = dict[str, str]
"""{"file": path relative to the records' folder}."""
Made = dict[str, Any] | BadRecord
"""A record to be written, or what is wrong with one."""
WRONG = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What a record of another form than its layout's raises."""


def said(error: Exception) -> str:
    """Such an error in words."""
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


class Files:
    """Files of one folder, named for records that are written to `out`.

    Args:
        folder: where the files lie; "" where the records bring them along.
        out: the .jsonl that is going to be written.

    Raises:
        ValueError: no such folder, or another thing bears the name of the link.
    """

    def __init__(self, folder: Path | None, out: Path) -> None:
        self.root = out.parent
        self.name = out.name.partition(".")[0]
        self.folder = folder
        self._stems: dict[str, str] | None = None
        self.root.mkdir(parents=True, exist_ok=True)
        self.prefix = "" if folder is None else self._reached(folder)

    def _reached(self, folder: Path) -> str:
        """The folder's path from the records, through a link where it lies elsewhere."""
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder: --files names the one that the layout's files lie in")
        inside = Path(os.path.abspath(folder))
        if inside.is_relative_to(os.path.abspath(self.root)):
            return inside.relative_to(os.path.abspath(self.root)).as_posix()
        link = self.root / f"{self.name}_files"
        if not link.is_symlink() and not link.exists():
            link.symlink_to(inside, target_is_directory=True)
        if link.resolve() != folder.resolve():
            raise ValueError(
                f"{link} is there and is no link to {folder}: move it, or write to another --out"
            )
        return link.name

    def refer(self, name: Any) -> Reference:
        """A file of the folder.

        Raises:
            ValueError: it is not there, or not below the folder.
        """
        if self.folder is None:
            raise ValueError(f"{name!r:.80} is the name of a file: say with --files where the files lie")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{name!r:.80} is no name of a file")
        path = Path(os.path.normpath(name))
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise ValueError(f"file {name!r:.80} lies outside of {self.folder}")
        try:
            there = (self.folder / path).is_file()
        except OSError:  # a name too long for any file, as addresses may be
            there = False
        if not there:
            raise ValueError(f"there is no file {name!r:.80} in {self.folder}")
        return {"file": (Path(self.prefix) / path).as_posix()}

    def called(self, stem: str) -> Reference:
        """The file of that name without its suffix, in any folder below.

        Raises:
            ValueError: there is none.
        """
        if self._stems is None and self.folder is not None:
            # Walked once, in order, so that of two files with one stem always the same is taken.
            found = sorted(path for path in self.folder.rglob("*") if path.is_file())
            self._stems = {path.stem: path.relative_to(self.folder).as_posix() for path in reversed(found)}
        if stem not in (self._stems or {}):
            raise ValueError(f"there is no file {stem!r:.80} with any suffix in {self.folder}")
        return self.refer((self._stems or {})[stem])

    def downloaded(self, url: str) -> Reference:
        """The file of an address: under its path, its last part, or the SHA-256 of the whole, with any suffix.

        Raises:
            ValueError: there is none.
        """
        last = url.split("?")[0].rstrip("/").rpartition("/")[2]
        for name in (url, last):
            try:
                return self.refer(name)
            except ValueError:
                continue
        return self.called(hashlib.sha256(url.encode()).hexdigest())

    def put(self, value: Any, name: str) -> Reference:
        """A file that a record names or holds; what it holds is written beside the records as `name` and its suffix.

        Raises:
            ValueError: neither.
        """
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            value = value["path"]
        if not isinstance(value, Blob):
            return self.refer(value)
        path = Path(f"{self.name}_pictures") / f"{name.replace('/', '-')}{value.suffix or '.png'}"
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / path).write_bytes(value.data)
        return {"file": path.as_posix()}


def table(path: Path) -> Any:
    """The content of a .json file.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): give the layout's own file") from error


def rows(path: Path) -> Iterator[Record | BadRecord]:
    """The objects of a .json list, .jsonl, .parquet or .tar, as records."""
    if path.suffix != ".json":
        yield from read(path)
        return
    found = table(path)
    if not isinstance(found, list):
        raise ValueError(f"{path} holds a {type(found).__name__}: this layout is a list of objects")
    for number, row in enumerate(found, start=1):
        where = f"{path.name}[{number - 1}]"
        if isinstance(row, dict):
            key = str(row.get("id", f"{path.stem}:{number}"))
            yield Record(key, row, where, path.parent)
        else:
            yield BadRecord(where, f"it is a {type(row).__name__}: an object is wanted")


def tidy(text: Any) -> str:
    """A text with single spaces.

    Raises:
        ValueError: no text, or an empty one.
    """
    words = " ".join(text.split()) if isinstance(text, str) else ""
    if not words:
        raise ValueError(f"a text is {text!r:.80}: words are wanted")
    return words
