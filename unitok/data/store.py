"""Token store: the rendered documents of one source as memory-mapped columns and a JSON manifest. No pickle.

A store is a folder. Every column is one little-endian file `<column>.bin`; D documents, N tokens, R runs,
M companions of a channel, K bytes of keys:

    ids               uint16 | uint32 [N]   shared ids, documents end to end
    doc               uint64 [D + 1]        first token of every document, then N
    doc_run           uint64 [D + 1]        first run of every document, then R
    run               uint64 [R + 1]        first token of every run, then N; a run never crosses documents
    run_weight        float32 [R]           loss weight, kind (see `Vocabulary.kinds`) and "absent from the null
    run_kind          uint8 [R]             form" of all tokens of the run
    run_null          uint8 [R]
    null_length       uint32 [D]            tokens of the null form
    supervised        float64 [D]           sum of the weights of all targets (the first token is none), every
                                            part of a stacked position counted
    null_supervised   float64 [D]           the same of the null form
    form              uint16 [D]            the template that made the document, among "forms" of the manifest
    key, key_doc      uint8 [K], uint64 [D + 1]      document keys, UTF-8, end to end
    side.<channel>.at, .value, .doc         uint32 [M] position within the document, int32 | float32 [M, width],
                                            uint64 [D + 1] first companion of every document
    more.at, .value, .doc                   the same for the further parts of stacked positions, int32 [M, more];
                                            only if the vocabulary stacks a block

`manifest.json` holds format, vocabulary fingerprint, counts, and dtype, shape and SHA-256 of every column;
`unitok.json` is the vocabulary itself. `unitok.data.writer` writes stores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from unitok.data.arrays import Array, ranges, starts
from unitok.document import Rendered
from unitok.vocabulary import Vocabulary, VocabularyMismatch

FORMAT = 1
MANIFEST = "manifest.json"


class DamagedStore(ValueError):
    """A column is missing, has a wrong size or fails its checksum, or the manifest cannot be read."""


class Index(NamedTuple):
    """What the plan knows of a source: per document the tokens and summed target weights, [D] each."""

    length: Array
    null_length: Array
    supervised: Array
    null_supervised: Array
    fingerprint: str


class Piece(NamedTuple):
    """Documents end to end: ids int64 [n], weight float32 [n], kind uint8 [n], length int64 [docs], and
    companions {channel: (at int64 [m] into ids, value [m, width])}, more int64 [n, more] or None."""

    ids: Array
    weight: Array
    kind: Array
    null: Array
    length: Array
    side: dict[str, tuple[Array, Array]]
    more: Array | None


class Spans(Protocol):
    """Spans of documents and how many tokens of each are wanted; see `unitok.data.cuts.Kept`."""

    @property
    def of(self) -> Array:
        """Which of the documents, int64 [m]."""

    @property
    def run(self) -> Array:
        """Number of the run, int64 [m]."""

    @property
    def size(self) -> Array:
        """Tokens, int64 [m]."""


class Store:
    """A store opened for reading. Open one with `Store.open`."""

    def __init__(self, path: Path, manifest: Mapping[str, Any], columns: Mapping[str, Array]) -> None:
        self.path = path
        self.manifest = manifest
        self.columns = columns
        self.channels = sorted(
            name[5:-3] for name in columns if name.startswith("side.") and name.endswith(".at")
        )
        self.index = Index(
            length=np.diff(columns["doc"].astype(np.int64)),
            null_length=columns["null_length"].astype(np.int64),
            supervised=columns["supervised"],
            null_supervised=columns["null_supervised"],
            fingerprint=fingerprint(manifest),
        )

    @classmethod
    def open(cls, path: str | Path, vocabulary: Vocabulary | None = None, verify: bool = False) -> Store:
        """Map a store into memory.

        Args:
            path: folder of the store.
            vocabulary: refuse the store unless it was made with this vocabulary.
            verify: read every column and compare its SHA-256 with the manifest.

        Raises:
            DamagedStore: see the class.
            VocabularyMismatch: made with another vocabulary; both fingerprints are named.
        """
        path = Path(path)
        manifest = _manifest(path)
        if vocabulary is not None and vocabulary.fingerprint != manifest["vocabulary"]:
            raise VocabularyMismatch(
                f"{path}: the store was made with vocabulary {manifest['vocabulary']}, not with "
                f"{vocabulary.fingerprint}: tokenize again, or use its own unitok.json"
            )
        columns = {name: _column(path, name, entry) for name, entry in manifest["columns"].items()}
        store = cls(path, manifest, columns)
        if verify:
            store.verify()
        return store

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Store.open, (self.path,)

    def __len__(self) -> int:
        return len(self.index.length)

    @property
    def tokens(self) -> int:
        """Tokens of all documents."""
        return len(self.columns["ids"])

    def verify(self) -> None:
        """Compare every column with its checksum.

        Raises:
            DamagedStore: names the damaged column.
        """
        for name, entry in self.manifest["columns"].items():
            with (self.path / f"{name}.bin").open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry["sha256"]:
                raise DamagedStore(
                    f"{self.path / name}.bin is damaged: its SHA-256 is {found[:12]}, the manifest says "
                    f"{entry['sha256'][:12]}; delete the store and tokenize again"
                )

    def vocabulary(self) -> Vocabulary:
        """The vocabulary the store was made with."""
        return Vocabulary.load(self.path)

    def key(self, doc: int) -> str:
        """The key of the record that a document was made of."""
        at = self.columns["key_doc"]
        return bytes(self.columns["key"][int(at[doc]) : int(at[doc + 1])]).decode()

    def form(self, doc: int) -> str:
        """The template that made a document: "chat.0", "plain.1", "own" (the record's own form)."""
        return str(self.manifest["forms"][int(self.columns["form"][doc])])

    def document(self, doc: int, null: bool = False) -> Rendered:
        """One document as it was rendered, or its null form."""
        piece = self.gather(np.array([doc]), np.array([null]))
        side = {name: (_tensor(at), _tensor(value)) for name, (at, value) in piece.side.items() if len(at)}
        more = None if piece.more is None else _tensor(piece.more)
        columns = (_tensor(piece.ids), _tensor(piece.weight), _tensor(piece.kind))
        return Rendered(*columns, side, _tensor(piece.null), more)

    def gather(self, docs: Array, null: Array, kept: Spans | None = None) -> Piece:
        """Documents end to end in the given order, those with `null` in their null form.

        Args:
            docs: int64 [n].
            null: bool [n].
            kept: spans of which only the first tokens are wanted.
        """
        c = self.columns
        first = c["doc_run"][docs].astype(np.int64)
        counts = c["doc_run"][docs + 1].astype(np.int64) - first
        runs = ranges(first, counts)
        owner = np.repeat(np.arange(len(docs)), counts)
        keep = ~((c["run_null"][runs] != 0) & null[owner])
        runs, owner = runs[keep], owner[keep]
        start = c["run"][runs].astype(np.int64)
        size = c["run"][runs + 1].astype(np.int64) - start
        if kept is not None and len(kept.run):
            many = len(c["run_kind"])
            at = np.searchsorted(owner * many + runs, kept.of * many + kept.run)
            here = np.minimum(at, max(0, len(runs) - 1))
            there = (owner[here] == kept.of) & (runs[here] == kept.run) if len(runs) else at < 0
            size[here[there]] = kept.size[there]
        ids = c["ids"][ranges(start, size)].astype(np.int64)
        more = None
        if "more.at" in c:
            at, value = self._companions("more", docs, owner, start, size)
            more = np.full((len(ids), value.shape[1]), -1, np.int64)
            more[at] = value
        return Piece(
            ids=ids,
            weight=np.repeat(c["run_weight"][runs], size),
            kind=np.repeat(c["run_kind"][runs], size),
            null=np.repeat(c["run_null"][runs] != 0, size),
            length=np.bincount(owner, weights=size, minlength=len(docs)).astype(np.int64),
            side={name: self._companions(f"side.{name}", docs, owner, start, size) for name in self.channels},
            more=more,
        )

    def _companions(
        self, column: str, docs: Array, owner: Array, start: Array, size: Array
    ) -> tuple[Array, Array]:
        """Where the companions of `docs` land once the runs (owner, start, size) lie end to end."""
        c = self.columns
        first = c[f"{column}.doc"][docs].astype(np.int64)
        counts = c[f"{column}.doc"][docs + 1].astype(np.int64) - first
        entry = ranges(first, counts)
        of = np.repeat(np.arange(len(docs)), counts)
        at = c["doc"][docs].astype(np.int64)[of] + c[f"{column}.at"][entry]
        # One sorted key per run (document in order, then place) finds the run of every companion.
        span = self.tokens + 1
        run = np.searchsorted(owner * span + start, of * span + at, side="right") - 1
        kept = (owner[run] == of) & (at - start[run] < size[run])
        place = starts(size)[run] + at - start[run]
        return place[kept], c[f"{column}.value"][entry[kept]]


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Hash of a store's content: vocabulary and all columns."""
    content = {"vocabulary": manifest["vocabulary"], "columns": manifest["columns"]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise DamagedStore(
            f"{path} is no token store: it has no {MANIFEST}; make one with tokenize"
        ) from error
    except ValueError as error:
        raise DamagedStore(
            f"{path / MANIFEST} cannot be read ({error}): delete the store, tokenize again"
        ) from error
    if manifest.get("format") != FORMAT:
        raise DamagedStore(
            f"{path} has store format {manifest.get('format')!r}, not {FORMAT}: tokenize again"
        )
    return manifest


def _column(path: Path, name: str, entry: Mapping[str, Any]) -> Array:
    file = path / f"{name}.bin"
    dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
    wanted = dtype.itemsize * int(np.prod(shape))
    found = file.stat().st_size if file.exists() else None
    if found != wanted:
        raise DamagedStore(
            f"{file} has {'no' if found is None else found} bytes where the manifest says {wanted}: "
            "delete the store and tokenize again"
        )
    if wanted == 0:
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(file, dtype, mode="r", shape=shape))


def _tensor(array: Array) -> torch.Tensor:
    if array.dtype == np.int32:
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array))
