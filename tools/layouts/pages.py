"""Interleaved pages of the web (MMC4, OBELICS) and folders of frames with a caption each (WebVid)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from layouts.files import WRONG, Files, Made, rows, said
from unitok.data.sources import BadRecord, Record


def interleaved(path: Path, files: Files, likeness: float, block: str, text: str) -> Iterator[Made]:
    """Records with "document"; pictures that are not there are left out, a page without any is refused.

    Args:
        path: .jsonl or .parquet of pages.
        files: the downloaded pictures.
        likeness: of MMC4, the least similarity of a picture to its sentence.
        block, text: the blocks of pictures and text.
    """
    for record in rows(path):
        if isinstance(record, BadRecord):
            yield record
            continue
        try:
            if "text_list" in record.fields:
                order = _matched(record, likeness)
            elif "texts" in record.fields:
                order = _parallel(record)
            else:
                raise ValueError('it has neither "text_list" (MMC4) nor "texts" (OBELICS)')
            parts: list[dict[str, Any]] = []
            missing = ""
            for picture, words in order:
                if words is not None:
                    parts.append({text: f"{words}\n"})
                    continue
                try:
                    parts.append({block: files.downloaded(str(picture))})
                except ValueError as error:
                    missing = f": {error}"
            if not any(block in part for part in parts):
                raise ValueError(f"none of its pictures is there{missing}")
            yield {"key": record.key, "document": parts}
        except WRONG as error:
            yield BadRecord(record.where, said(error))


def _matched(record: Record, likeness: float) -> Iterator[tuple[Any, str | None]]:
    """MMC4: each picture stands before the sentence that it was matched with."""
    before: dict[int, list[str]] = {}
    for one in record.fields["image_info"]:
        if float(one.get("matched_sim", math.inf)) >= likeness:
            before.setdefault(int(one["matched_text_index"]), []).append(str(one["image_name"]))
    texts = record.fields["text_list"]
    if not all(isinstance(words, str) for words in texts):
        raise ValueError('"text_list" holds what is no text')
    for number, words in enumerate(texts):
        yield from ((name, None) for name in before.pop(number, []))
        if words.strip():
            yield None, " ".join(words.split())
    if before:
        raise ValueError(f"a picture is matched with sentence {min(before)} of {len(texts)}")


def _parallel(record: Record) -> Iterator[tuple[Any, str | None]]:
    """OBELICS: two lists of one length, at each place an address or a text."""
    images, texts = record.fields["images"], record.fields["texts"]
    if not isinstance(images, list) or not isinstance(texts, list) or len(images) != len(texts):
        raise ValueError('"images" and "texts" are lists of one length, at each place one or the other')
    for image, words in zip(images, texts, strict=True):
        if isinstance(image, str) and image:
            yield image, None
        elif isinstance(words, str) and words.strip():
            yield None, words.strip()


def frames(
    folder: Path, table: Path | None, columns: tuple[str, str], count: int, files: Files
) -> Iterator[Made]:
    """Records {key, frames: files in order, caption} of folders of frames.

    Args:
        folder: a folder for each clip, its frames in the order of their names.
        table: .csv, .json, .jsonl or .parquet with the captions; without it CLIP.txt lies beside CLIP/.
        columns: of the table, the clip's name and its caption.
        count: frames of a clip at most, evenly spaced, the first and the last among them.
        files: of `folder`.
    """
    told = None if table is None else _captions(table, columns)
    for clip in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            words = _beside(clip) if told is None else told.get(clip.name, "")
            if not words.strip():
                raise ValueError("the clip has no caption")
            found = sorted(
                path.name for path in clip.iterdir() if path.is_file() and not path.name.startswith(".")
            )
            if not found:
                raise ValueError("the clip has no frames")
            kept = min(count, len(found))
            places = [round(i * (len(found) - 1) / max(1, kept - 1)) for i in range(kept)]
            pictures = [files.refer(f"{clip.name}/{found[at]}") for at in places]
            yield {"key": clip.name, "frames": pictures, "caption": " ".join(words.split())}
        except (OSError, ValueError) as error:
            yield BadRecord(str(clip), str(error))


def _beside(clip: Path) -> str:
    path = clip.with_name(f"{clip.name}.txt")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _captions(table: Path, columns: tuple[str, str]) -> dict[str, str]:
    """Caption of each clip.

    Raises:
        ValueError: the table lacks a column.
    """
    if table.suffix == ".csv":
        with table.open(encoding="utf-8", newline="") as file:
            read: list[Any] = list(csv.DictReader(file))
    else:
        read = [dict(row.fields) for row in rows(table) if isinstance(row, Record)]
    if not read or not all(column in read[0] for column in columns):
        raise ValueError(f"{table} has no columns {columns[0]} and {columns[1]}: name them with --columns")
    clip, words = columns
    return {str(row[clip]): str(row[words]) for row in read if None not in (row.get(clip), row.get(words))}
