"""Tokenize: sources of records -> token stores, one per source and split, cached by content.

A store is built when its key is new (source table, vocabulary, longest document, split) or a file it was made
of has changed; else it is opened at once. Bad records are named with file, line and reason, counted, and left
out; with `strict` the first one stops everything. Stores are written aside and renamed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from unitok.data.config import DataConfig, SourceConfig
from unitok.data.documents import Builder
from unitok.data.inputs import Inputs, fresh
from unitok.data.progress import Progress
from unitok.data.sources import BadRecord, Record, format_of, read
from unitok.data.store import Store
from unitok.data.tally import BadSource, Tally
from unitok.data.template import TemplateError, compile_forms, nearest
from unitok.data.writer import StoreWriter
from unitok.distributed import barrier, is_main
from unitok.modality import Modality, nested_lengths
from unitok.vocabulary import Vocabulary

FORMAT = 1
BATCH = 128  # records at a time
SPLITS = ("train", "heldout")


def tokenize(
    config: DataConfig,
    root: str | Path,
    vocabulary: Vocabulary,
    modalities: Mapping[str, Modality],
    split: str = "train",
    quiet: bool = False,
) -> dict[str, Store]:
    """The stores of all sources that have documents in `split`, by name, built where they are not yet.

    With several processes the main one builds while the others wait.

    Args:
        config: the run's `[data]` table.
        root: where the paths of the sources start from.
        vocabulary: the shared vocabulary.
        modalities: by block; those of the vocabulary.
        split: "train" or "heldout".
        quiet: no progress bar and no summary; bad records are still named.

    Raises:
        VocabularyMismatch: a modality is not the one that the vocabulary was built with.
        TemplateError, FileNotFoundError: a source cannot be used at all.
        BadSource: a bad record with `config.strict`, or a source without any document.
    """
    vocabulary.check(modalities)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: {nearest(split, SPLITS)}")
    if not is_main():
        barrier()
    builder = Builder(vocabulary, modalities, config.longest)
    stores = {}
    with Progress(quiet or not is_main()) as progress:
        for name, source in config.sources.items():
            stores[name] = _store(name, source, config, Path(root), split, builder, progress)
    if is_main():
        barrier()
    return {name: store for name, store in stores.items() if len(store)}


def _store(
    name: str,
    source: SourceConfig,
    config: DataConfig,
    root: Path,
    split: str,
    builder: Builder,
    progress: Progress,
) -> Store:
    path = root / source.path
    source = _completed(name, source, path, builder.vocabulary)
    forms = compile_forms(name, source, builder.vocabulary)
    key = _key(source, path, builder, split)
    folder = Path(config.cache) / f"{name}.{split}.{key}"
    if fresh(folder, path):
        store = Store.open(folder, builder.vocabulary)
        progress.done(Tally(**store.manifest["about"]["counts"]), cached=True)
        return store
    tally = Tally(name)
    inputs = Inputs(path)
    for block in source.shorten:
        try:
            nested_lengths(block, builder.modalities)
        except ValueError as error:
            raise TemplateError(f"source {name!r}: shorten: {error}") from error
    builder.begin(forms, source.variants if split == "train" else 1, inputs, source)
    with StoreWriter(folder, builder.vocabulary) as writer:
        for records in _batches(_of_split(read(path), split, source.heldout, tally, config.strict, progress)):
            for bad in builder.add(records, writer, tally):
                progress.say(tally.add_bad(bad.where, bad.reason, config.strict))
            progress.show(tally)
        if not tally.documents and split == "train":
            first = f"; the first message: {tally.messages[0].reason}" if tally.messages else ""
            raise BadSource(f"source {name!r} ({path}) gives no document of {tally.records} records{first}")
        inputs.save(writer.folder)
        tally.save(writer.folder)
        store = writer.finish(counts=tally.counts())
    progress.done(tally, cached=False)
    return store


def _completed(name: str, source: SourceConfig, path: Path, vocabulary: Vocabulary) -> SourceConfig:
    """A source of long text needs no template: its field "text" is the document."""
    if format_of(path) == "text" and not source.chat and not source.plain:
        if vocabulary.text is None:
            raise TemplateError(f"source {name!r} is text, but the vocabulary has no text block: add one")
        return source.model_copy(update={"fields": {"text": vocabulary.text}, "plain": ["{text}"]})
    return source


def _key(source: SourceConfig, path: Path, builder: Builder, split: str) -> str:
    facts = {
        "format": FORMAT,
        "source": source.model_dump(exclude={"weight", "budget", *_unused(source)}),
        "path": str(path.resolve()),
        "vocabulary": builder.vocabulary.fingerprint,
        "longest": builder.longest,
        "split": split,
    }
    told = {name: dict(modality.encoding()) for name, modality in builder.modalities.items()}
    if any(told.values()):
        facts["encoding"] = {name: words for name, words in told.items() if words}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _unused(source: SourceConfig) -> set[str]:
    """Options at rest: those that came later than stores do not change the stores' names."""
    return {name for name in ("shorten", "shares", "swap", "items") if not getattr(source, name)}


def _of_split(
    records: Iterable[Record | BadRecord],
    split: str,
    heldout: float,
    tally: Tally,
    strict: bool,
    progress: Progress,
) -> Iterator[Record]:
    """The records of one split; what cannot be read is reported with the training split."""
    for record in records:
        if isinstance(record, Record) and not _utf8(record.key):
            record = BadRecord(
                record.where, f"key {record.key!r} has a lone surrogate: name it in plain Unicode"
            )
        if isinstance(record, Record):
            theirs = record.fields.get("split") or ("heldout" if _chance(record.key) < heldout else "train")
            if theirs in SPLITS:
                if theirs == split:
                    tally.records += 1
                    yield record
                continue
            record = BadRecord(record.where, f"unknown split {theirs!r}: use train or heldout")
        if split == "train":
            tally.records += 1
            progress.say(tally.add_bad(record.where, record.reason, strict))


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _chance(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(records, BATCH)):
        yield batch
