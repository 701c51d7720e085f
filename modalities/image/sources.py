"""Pictures for training a tokenizer: folders, tars and jsonl files, split so that nothing leaks.

A picture's key is its file's stem. Held out is every key whose sha256 is divisible by ten, or what a jsonl
record calls `"split": "heldout"`. Emoji keys are code points ("1f44d-1f3fb"): pictures that differ from a
held-out one in skin tone alone are left out of training.
"""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .io import SUFFIXES, read_image, to_tensor
from .library import Entry, Library, entries

NOT_MEANING = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff", "fe0f", "200d"}  # skin tones, selector, joiner
TARS = (".tar", ".tar.gz", ".tgz", ".tar.zst")


class Picture(NamedTuple):
    """One file: its key, its bytes, and whether a record says that it is held out (None: it does not say)."""

    key: str
    data: bytes
    heldout: bool | None = None


def pictures(path: Path) -> Iterator[Picture]:
    """All pictures of a folder (with its subfolders), a tar, or a jsonl file with an `image` field.

    Raises:
        ValueError: neither of them, or a damaged archive.
        ImportError: a .tar.zst without the package zstandard.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                yield Picture(file.stem, file.read_bytes())
    elif path.name.endswith(TARS) and path.is_file():
        yield from _members(path)
    elif path.suffix == ".jsonl" and path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            image = record.get("image")
            file_name = image.get("file") if isinstance(image, dict) else image
            if file_name:
                said = record["split"] == "heldout" if "split" in record else None
                yield Picture(Path(file_name).stem, (path.parent / file_name).read_bytes(), said)
    else:
        raise ValueError(f"{path} is no folder, .tar (.gz, .zst) or .jsonl file with pictures")


def _members(path: Path) -> Iterator[Picture]:
    """Pictures of a tar; those in folders called test are held out, and keys hold their folder."""
    try:
        with opened(path) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                name = Path(member.name)
                body = tar.extractfile(member) if name.suffix.lower() in SUFFIXES else None
                if body is not None:
                    nested = len(name.parts) > 1
                    said = (
                        True if "test" in name.parts[:-1] else False if "train" in name.parts[:-1] else None
                    )
                    yield Picture(
                        "-".join((*name.parts[:-1], name.stem)) if nested else name.stem, body.read(), said
                    )
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path} is a damaged archive ({error}): copy it again") from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file as a stream of bytes, .zst unpacked on the way.

    Raises:
        ImportError: a .zst without the package zstandard.
    """
    with path.open("rb") as file:
        if path.suffix != ".zst":
            yield file
            return
        try:
            import zstandard
        except ImportError as error:
            raise ImportError(f"{path} is packed with zstd: pip install zstandard to read it") from error
        try:
            yield zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(file)
        except zstandard.ZstdError as error:
            raise OSError(f"zstd: {error}") from error


def is_heldout(key: str) -> bool:
    """The rule that holds out a tenth of the keys."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10 == 0


def meaning(key: str) -> str:
    """A code-point key without skin tones, variation selectors and joiners."""
    return "-".join(part for part in key.split("-") if part not in NOT_MEANING)


class Split(NamedTuple):
    """Pictures uint8 [n, 3, S, S] to train on and held out, their keys, and how many of the former each source gave."""

    train: Tensor | Library
    heldout: Tensor
    keys: list[str]
    heldout_keys: list[str]
    counts: list[int]


def split(paths: Sequence[Path], size: int, crops: int = 0, limit: int = 0) -> Split:
    """Training and held-out pictures of several sources, at most 500 held out of each.

    A key that occurs twice counts once, and is held out if either says so. Held out are only keys without
    skin tone, so that no picture is judged several times.

    Args:
        paths: the sources; see `pictures`.
        size: side in pixels.
        crops: further random square crops of every training picture of more than twice `size`.
        limit: pictures taken of each source at most; 0 takes all.

    Raises:
        ValueError: a source that cannot be read, or no picture on one side.
    """
    found: dict[str, tuple[bool, list[Tensor], int]] = {}
    for source, path in enumerate(paths):
        count = {True: 0, False: 0}
        for picture in pictures(path):
            out = is_heldout(picture.key) if picture.heldout is None else picture.heldout
            if count[out] >= (HELDOUT if out else limit or 10**9):
                continue
            count[out] += 1
            try:
                image = read_image(picture.data)
            except ValueError as error:
                raise ValueError(f"{path}: {picture.key}: {error}") from error
            views = [image] if out else [image, *_crops(image, picture.key, size, crops)]
            out = out or (picture.key in found and found[picture.key][0])
            found[picture.key] = (
                out,
                [(to_tensor(each, size) * 255).round().to(torch.uint8) for each in views],
                source,
            )
    plain = {key for key, (out, _, _) in found.items() if out and not _toned(key)}
    banned = {meaning(key) for key in plain}
    heldout = {key: views[0] for key, (_, views, _) in found.items() if key in plain}
    kept = [
        (view, source, key)
        for key, (_, views, source) in found.items()
        if meaning(key) not in banned
        for view in views
    ]
    kept.sort(key=lambda row: row[1])  # by source; the order within one stays
    if not kept or not heldout:
        raise ValueError(
            f"{len(kept)} pictures to train on and {len(heldout)} held out: need both; add pictures"
        )
    counts = [sum(source == number for _, source, _ in kept) for number in range(len(paths))]
    stacked = torch.stack([view for view, _, _ in kept])
    return Split(
        stacked, torch.stack(list(heldout.values())), [key for _, _, key in kept], list(heldout), counts
    )


def shelve(paths: Sequence[Path], size: int, crops: int = 0, limit: int = 0) -> Split:
    """The same with the training pictures left on disk, see `library`; `crops` are made in each batch anyway.

    Raises:
        ValueError: as `split`, or a source that cannot be read in any order.
    """
    found: dict[str, tuple[Entry, bool, int]] = {}
    for source, path in enumerate(paths):
        count = {True: 0, False: 0}
        for entry in entries(path):
            out = is_heldout(entry.key) if entry.heldout is None else entry.heldout
            if count[out] < (HELDOUT if out else limit or 10**9):
                count[out] += 1
                found[entry.key] = (entry, out or (entry.key in found and found[entry.key][1]), source)
    plain = {key for key, (_, out, _) in found.items() if out and not _toned(key)}
    banned = {meaning(key) for key in plain}
    kept = sorted((source, key) for key, (_, _, source) in found.items() if meaning(key) not in banned)
    if not kept or not plain:
        raise ValueError(
            f"{len(kept)} pictures to train on and {len(plain)} held out: need both; add pictures"
        )
    held = [key for key in found if key in plain]
    heldout = Library([found[key][0] for key in held], size)[torch.arange(len(held))]
    counts = [sum(source == number for source, _ in kept) for number in range(len(paths))]
    keys = [key for _, key in kept]
    return Split(Library([found[key][0] for key in keys], size), heldout, keys, held, counts)


HELDOUT = 500
"""Held-out pictures of a source at most."""


def _toned(key: str) -> bool:
    return any(part.startswith("1f3f") and part in NOT_MEANING for part in key.split("-"))


def _crops(image: Image.Image, key: str, size: int, count: int) -> list[Image.Image]:
    """`count` random squares of 45 to 100 % of the shorter side, the same ones for the same key."""
    if min(image.size) <= 2 * size:
        return []
    generator = random.Random(key)
    found = []
    for _ in range(count):
        side = round(min(image.size) * generator.uniform(0.45, 1))
        left, top = (generator.randint(0, edge - side) for edge in image.size)
        found.append(image.crop((left, top, left + side, top + side)))
    return found
