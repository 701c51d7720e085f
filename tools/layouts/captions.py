"""Captioned items: the COCO captions file with its folder of pictures, and examples that stand beside their nearest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from layouts.files import WRONG, Files, Made, said, table, tidy
from modalities.molecule.neighbours import TextIndex
from unitok.data.sources import BadRecord, Record, read


def coco(path: Path, files: Files, field: str) -> Iterator[Made]:
    """Records {key, field: file, caption: all captions of the picture}.

    Raises:
        ValueError: the file has no "images" and "annotations".
    """
    found = table(path)
    lists = [found.get(name) for name in ("images", "annotations")] if isinstance(found, dict) else [None]
    if not all(isinstance(one, list) for one in lists):
        raise ValueError(
            f'{path} is no captions file: it has an object with the lists "images" and "annotations"'
        )
    texts: dict[Any, list[str]] = defaultdict(list)
    for number, one in enumerate(found["annotations"]):
        try:
            texts[one["image_id"]].append(tidy(one["caption"]))
        except WRONG as error:
            yield BadRecord(f"{path.name} annotations[{number}]", said(error))
    for number, one in enumerate(found["images"]):
        try:
            captions = texts.get(one["id"])
            if not captions:
                raise ValueError(f"picture {one['id']!r} has no caption")
            yield {
                "key": f"{path.stem}/{one['id']}",
                field: files.refer(one["file_name"]),
                "caption": captions,
            }
        except WRONG as error:
            yield BadRecord(f"{path.name} images[{number}]", said(error))


def retrieved(path: Path, field: str, block: str, text: str, pairs: int, among: int) -> Iterator[Made]:
    """Documents of `pairs` captioned items and then one more, whose caption is nearest to theirs; nearest last.

    Those in context are of the training split; records without "split" all count as training.

    Args:
        path: records with `field` and "caption", such as `coco` gives; files stay relative to its folder.
        field: of the item.
        block: that the item is of; text: that of captions.
        pairs: shown before the pair.
        among: captions to look among at most, evenly spaced.

    Raises:
        ValueError: fewer records than are to be shown.
    """
    known: list[tuple[Record, str]] = []
    for record in read(path):
        if isinstance(record, BadRecord):
            yield record
            continue
        words = record.fields.get("caption")
        try:
            caption = tidy(words[0] if isinstance(words, list) and words else words)
            if record.fields.get(field) is None:
                raise ValueError(f"the record has no field {field!r}")
            known.append((record, caption))
        except ValueError as error:
            yield BadRecord(record.where, str(error))
    # What is held out is never shown in context, where training would see it.
    shown = [at for at, (record, _) in enumerate(known) if record.fields.get("split") != "heldout"]
    if len(shown) <= pairs:
        raise ValueError(f"{path} has {len(shown)} captioned training records: {pairs} in context need more")
    chosen = [
        shown[at] for at in np.unique(np.linspace(0, len(shown) - 1, min(among, len(shown))).astype(int))
    ]
    index = TextIndex([known[at][1] for at in chosen])
    for at, (record, caption) in enumerate(track(known, "neighbours")):
        scores = index.scores(caption)
        # An item with the same caption would give the answer away, and the record itself is no example of itself.
        same = [known[other][1] == caption or other == at for other in chosen]
        order = np.argsort(-np.where(same, -1.0, scores), kind="stable")[:pairs]
        near = [known[chosen[place]] for place in order[::-1] if not same[place]]
        parts: list[dict[str, Any]] = []
        for one, words in [*near, (record, caption)]:
            parts += [{block: one.fields[field]}, {text: f" {words}\n"}]
        yield {"key": f"retrieved/{record.key}", "document": parts, **_split(record)}


def _split(record: Record) -> dict[str, Any]:
    return {"split": record.fields["split"]} if "split" in record.fields else {}
