"""Records of files that share a stem: `red.jpg` and `red.txt` are the fields "jpg" and "txt" of the key "red".

The rules are those of WebDataset: the key is the path up to the first dot of the file name, the rest is the
field name. Text files become strings, the fields of a `.json` file become fields of the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unitok.data.sources.record import BadRecord, Blob, Record


def split_name(path: str) -> tuple[str, str]:
    """A file's path as key and field: "a/red.left.jpg" -> ("a/red", "left.jpg")."""
    folder, slash, name = path.rpartition("/")
    stem, _, field = name.partition(".")
    return folder + slash + stem, field.lower()


def field_values(field: str, data: bytes) -> dict[str, Any]:
    """What a file adds to its record.

    Raises:
        ValueError: a .txt that is not UTF-8, a .json that is no object.
    """
    suffix = "." + field.rpartition(".")[2]
    if suffix == ".txt":
        try:
            return {field: data.decode()}
        except UnicodeDecodeError as error:
            raise ValueError(f"the text is not UTF-8 ({error})") from error
    if suffix == ".json":
        try:
            values = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the file is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise ValueError(
                f"the file holds a {type(values).__name__}: it must be an object with named fields"
            )
        return values
    return {field: Blob(data, suffix)}


def files(path: Path) -> list[Path]:
    """The files that a folder's records are made of: hidden ones and those without suffix left out."""
    found = []
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if not hidden and "." in file.name and file.is_file():
            found.append(file)
    return found


def read_folder(path: Path) -> Iterator[Record | BadRecord]:
    """Records of a folder and its sub-folders, ordered by key."""
    groups: dict[str, list[tuple[str, Path]]] = {}
    for file in files(path):
        key, field = split_name(file.relative_to(path).as_posix())
        groups.setdefault(key, []).append((field, file))
    for key in sorted(groups):
        fields: dict[str, Any] = {}
        bad = None
        for field, file in groups[key]:
            where = f"{path.name}/{file.relative_to(path).as_posix()}"
            try:
                fields.update(field_values(field, file.read_bytes()))
            except (ValueError, OSError) as error:
                bad = BadRecord(where, str(error))
        yield bad or Record(key, fields, f"{path.name}/{key}", path)
