"""Writes a token store: columns stream into a folder aside, which gets its name only when it is complete.

The layout is that of `unitok.data.store`. An error, a full disk or a kill leaves no half store behind under
the final name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from unitok.data.arrays import Array
from unitok.data.store import FORMAT, MANIFEST, Store
from unitok.document import Rendered
from unitok.vocabulary import Vocabulary


class _Column:
    """One column being written: appended to, hashed on the way."""

    def __init__(self, path: Path, dtype: str, width: int = 0) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.width = width
        self.count = 0
        self._file: BinaryIO = path.open("wb")
        self._hash = hashlib.sha256()

    def add(self, values: Array | list[int] | list[float]) -> None:
        data = np.ascontiguousarray(values, self.dtype)
        self.count += len(data)
        raw = data.tobytes()
        self._hash.update(raw)
        self._file.write(raw)

    def close(self) -> dict[str, Any]:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        shape = [self.count, self.width] if self.width else [self.count]
        return {"dtype": self.dtype.str, "shape": shape, "sha256": self._hash.hexdigest()}

    def abandon(self) -> None:
        self._file.close()


class StoreWriter:
    """Use as a context manager: `add` documents, then `finish`. Leaving without `finish` removes everything.

    Args:
        path: the final folder; an existing store there is replaced at the end, in one rename.
        vocabulary: the vocabulary that the documents were rendered with.
    """

    def __init__(self, path: str | Path, vocabulary: Vocabulary) -> None:
        self.path = Path(path)
        self.vocabulary = vocabulary
        self._aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        shutil.rmtree(self._aside, ignore_errors=True)
        self._aside.mkdir(parents=True)
        wide = "u4" if len(vocabulary) > 1 << 16 else "u2"
        dtypes = {
            "ids": wide, "doc": "u8", "doc_run": "u8", "run": "u8", "run_weight": "f4", "run_kind": "u1",
            "run_null": "u1", "null_length": "u4", "supervised": "f8", "null_supervised": "f8", "form": "u2",
            "key": "u1", "key_doc": "u8",
        }  # fmt: skip
        self._columns = {name: self._column(name, dtype) for name, dtype in dtypes.items()}
        for channel, side in vocabulary.channels.items():
            self._sparse(f"side.{channel}", "i4" if side.kind == "ids" else "f4", side.width)
        if vocabulary.more:
            self._sparse("more", "i4", vocabulary.more)
        self.longest = 0
        self.folder = self._aside
        self._forms: dict[str, int] = {}

    def _column(self, name: str, dtype: str, width: int = 0) -> _Column:
        return _Column(self._aside / f"{name}.bin", dtype, width)

    def _sparse(self, name: str, dtype: str, width: int) -> None:
        """The three columns of values that only some positions have."""
        columns = {"at": ("u4", 0), "value": (dtype, width), "doc": ("u8", 0)}
        self._columns |= {f"{name}.{part}": self._column(f"{name}.{part}", *c) for part, c in columns.items()}

    @property
    def documents(self) -> int:
        """Documents added so far."""
        return self._columns["doc"].count

    @property
    def tokens(self) -> int:
        """Tokens added so far."""
        return self._columns["ids"].count

    def add(self, rendered: Rendered, key: str, form: str = "") -> None:
        """Append one document.

        Args:
            rendered: its columns.
            key: the record that it was made of; documents of one record share it.
            form: the template that made it.
        """
        ids, weight, kind, null = (
            t.numpy() for t in (rendered.ids, rendered.weight, rendered.kind, rendered.null)
        )
        c = self._columns
        change = (np.diff(weight) != 0) | (np.diff(kind) != 0) | (np.diff(null) != 0)
        first = np.concatenate([[0], np.flatnonzero(change) + 1])
        c["doc"].add([self.tokens])
        c["doc_run"].add([c["run"].count])
        c["run"].add(first + self.tokens)
        c["run_weight"].add(weight[first])
        c["run_kind"].add(kind[first])
        c["run_null"].add(null[first])
        c["null_length"].add([int((~null).sum())])
        codes = _codes(rendered) * weight.astype(np.float64)
        c["supervised"].add([float(codes[1:].sum())])
        c["null_supervised"].add([float(codes[~null][1:].sum())])
        c["form"].add([self._forms.setdefault(form, len(self._forms))])
        c["key_doc"].add([c["key"].count])
        c["key"].add(np.frombuffer(key.encode(), np.uint8))
        sparse = {f"side.{channel}": rendered.side.get(channel) for channel in self.vocabulary.channels}
        if rendered.more is not None:
            there = (rendered.more[:, 0] >= 0).nonzero().squeeze(1)
            sparse["more"] = there, rendered.more[there]
        for name, companions in sparse.items():
            at = c[f"{name}.at"]
            c[f"{name}.doc"].add([at.count])
            if companions is not None:
                places, values = (t.numpy() for t in companions)
                order = np.argsort(places, kind="stable")
                at.add(places[order])
                value = c[f"{name}.value"]
                value.add(values[order].reshape(len(order), value.width))
        c["ids"].add(ids)
        self.longest = max(self.longest, len(ids))

    def finish(self, **about: Any) -> Store:
        """Complete the store and give it its name.

        Args:
            about: plain data kept in the manifest under "about".
        """
        c = self._columns
        counts = {"documents": self.documents, "tokens": self.tokens, "longest": self.longest}
        for name in [name for name in c if name == "doc" or name.endswith(".doc")]:
            c[name].add([self.tokens if name == "doc" else c[name[:-4] + ".at"].count])
        c["doc_run"].add([c["run"].count])
        c["key_doc"].add([c["key"].count])
        c["run"].add([self.tokens])
        manifest = {
            "format": FORMAT,
            "vocabulary": self.vocabulary.fingerprint,
            **counts,
            "forms": list(self._forms),
            "about": about,
            "columns": {name: column.close() for name, column in c.items()},
        }
        self.vocabulary.save(self._aside / "unitok.json")
        (self._aside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        _replace(self._aside, self.path)
        return Store.open(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for column in self._columns.values():
            _quiet(column)
        shutil.rmtree(self._aside, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"store {self.path} could not be written ({error.strerror}), nothing was changed: free space "
                "or set data.cache to another disk",
            ) from error


def _codes(rendered: Rendered) -> Array:
    """How many codes each position holds, int64 [L]."""
    if rendered.more is None:
        return np.ones(len(rendered.ids), np.int64)
    return 1 + (rendered.more >= 0).sum(1).numpy()


def _quiet(column: _Column) -> None:
    """Close a column whose content no longer matters: on a full disk closing flushes and fails once more."""
    try:
        column.abandon()
    except OSError:
        return


def _replace(aside: Path, path: Path) -> None:
    """Give the finished folder its name; what stood there goes once the new one is in place."""
    old = path.with_name(f"{path.name}.{os.getpid()}.old")
    if path.exists():
        path.rename(old)
    aside.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def write_store(path: str | Path, vocabulary: Vocabulary, documents: Mapping[str, Rendered]) -> Store:
    """A store of rendered documents by key."""
    with StoreWriter(path, vocabulary) as writer:
        for key, rendered in documents.items():
            writer.add(rendered, key)
        return writer.finish()
