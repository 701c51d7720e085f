"""Captioned pictures and pictures of classes as records: `python tools/caption_sets.py OUT --captions A.tar B.tar`.

    python tools/caption_sets.py data/photos --captions flickr8k.tar:100 coco.tar:39 --classes cifar10.tar.zst:500

A tar of captions is a WebDataset: a picture and a .json with "captions" under one key. A tar of classes has
its pictures in folders named by the class (tar, tar.gz or tar.zst). OUT gets pictures/, photos.jsonl and
classes.jsonl, whose records name their `split`; recipes/configs/image/captions.toml reads them.

The number after the colon: of captions, how many records are held out (those whose key has the smallest
SHA-256, so that anybody holds out the same; heldout.txt lists them); of classes, how many pictures of each
class are kept. A picture keeps all its captions on one side.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modalities.image.sources import opened
from unitok.command import command
from unitok.data.sources import BadRecord, Blob, read

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def captions(path: Path, heldout: int, out: Path) -> list[dict[str, Any]]:
    """Records of a WebDataset tar of captioned pictures; the pictures go to `out`/pictures.

    Raises:
        ValueError: a record without a picture or captions, or fewer records than are to be held out.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in read(path):
        if isinstance(record, BadRecord):
            raise ValueError(f"{record.where}: {record.reason}")
        texts = record.fields.get("captions") or record.fields.get("caption")
        blobs = [value for value in record.fields.values() if isinstance(value, Blob)]
        if texts and not (
            isinstance(texts, str) or (isinstance(texts, list) and all(isinstance(t, str) for t in texts))
        ):
            raise ValueError(
                f"{record.where}: captions are {texts!r:.80}: give a string or a list of strings"
            )
        texts = [text for text in ([texts] if isinstance(texts, str) else texts or []) if text.strip()]
        if not texts or not blobs:
            raise ValueError(f"{record.where} has no picture or no captions: both stand under one key")
        name = f"pictures/{path.name.split('.')[0]}-{record.key.replace('/', '-')}{blobs[0].suffix}"
        if (out / name).exists() and (out / name).read_bytes() != blobs[0].data:
            raise ValueError(
                f"{record.where}: {name} is there already with another picture: rename one of the tars"
            )
        (out / name).write_bytes(blobs[0].data)
        lines = [" ".join(text.split()) for text in texts]
        found[record.key] = {"key": record.key, "image": {"file": name}, "caption": lines}
    if heldout >= len(found):
        raise ValueError(f"{path} has {len(found)} records, so {heldout} cannot be held out: ask for fewer")
    held = set(sorted(found, key=lambda key: hashlib.sha256(key.encode()).hexdigest())[:heldout])
    return [{**row, "split": "heldout" if key in held else "train"} for key, row in found.items()]


def classes(path: Path, each: int, out: Path) -> list[dict[str, Any]]:
    """Records of a tar whose folders are classes, `each` of a class; those under a folder "test" are held out."""
    rows, count = [], Counter[tuple[str, str]]()
    for name, data in _members(path):
        parts = Path(name)
        split = "heldout" if "test" in parts.parts[:-2] else "train"
        kind = parts.parent.name
        if (
            parts.suffix.lower() not in SUFFIXES
            or not kind
            or count[split, kind] >= (each if split == "train" else max(1, each // 10))
        ):
            continue
        count[split, kind] += 1
        stem = "-".join((path.name.split(".")[0], *parts.with_suffix("").parts))
        target = f"pictures/{stem}{parts.suffix}"
        (out / target).write_bytes(data)
        rows.append({"key": stem, "image": {"file": target}, "name": kind, "split": split})
    if not rows:
        raise ValueError(f"{path} holds no pictures in folders: a class is the name of a folder")
    return rows


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of a tar, compressed or not."""
    try:
        mode: Any = "r|" if path.suffix == ".zst" else "r:*"
        with opened(path) as stream, tarfile.open(fileobj=stream, mode=mode) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no tar file or a damaged one ({error}): copy it again") from error


def build(out: Path, sets: list[str], kinds: list[str]) -> dict[str, int]:
    """Write everything; how many records each file has."""
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    photos = [row for text in sets for row in captions(*_counted(text, 0), out)]
    named = [row for text in kinds for row in classes(*_counted(text, 500), out)]
    for name, rows in (("photos.jsonl", photos), ("classes.jsonl", named)):
        if rows:
            (out / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    held = [row["key"] for row in photos if row["split"] == "heldout"]
    (out / "heldout.txt").write_text("".join(f"{key}\n" for key in held))
    return {"photos": len(photos), "held out": len(held), "classes": len(named)}


def _counted(text: str, default: int) -> tuple[Path, int]:
    """The two sides of "FILE:100"."""
    name, colon, number = text.rpartition(":")
    return (Path(name), int(number)) if colon and number.isdigit() else (Path(text), default)


def main(arguments: list[str] | None = None) -> None:
    """Build and say what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--captions", nargs="*", default=[], metavar="TAR[:HELD]")
    parser.add_argument("--classes", nargs="*", default=[], metavar="TAR[:EACH]")
    options = parser.parse_args(arguments)
    if not options.captions and not options.classes:
        parser.error("nothing to do: give --captions or --classes")
    print(
        ", ".join(f"{name} {n}" for name, n in build(options.out, options.captions, options.classes).items())
    )


if __name__ == "__main__":
    command(main)
