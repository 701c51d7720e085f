"""Pictures for training a tokenizer: folders, tars and jsonl files, split so that nothing leaks.

A picture's key is its file's stem, with its folders before it. Held out is every key whose sha256 is divisible by ten, or what a jsonl
record calls `"split": "heldout"`. Emoji keys are code points ("1f44d-1f3fb"): pictures that differ from a
held-out one in skin tone alone are left out of training.
"""

from __future__ import annotations

import random
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from unitok.packed import DAMAGE, opened

from ..common.training import held_out
from .io import SUFFIXES, Resize, read_image, to_tensor
from .library import Library, entries, placed

NOT_MEANING = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff", "fe0f", "200d"}  # skin tones, selector, joiner
TARS = (".tar", ".tar.gz", ".tgz", ".tar.zst")


class DamagedArchive(ValueError):
    """A tar that breaks off; the pictures before that have been given."""


class Picture(NamedTuple):
    """One file: its key, its bytes, and whether a record says that it is held out (None: it does not say)."""

    key: str
    data: bytes
    heldout: bool | None = None


def pictures(path: Path) -> Iterator[Picture]:
    """All pictures of a folder (with its subfolders), a tar, or a jsonl file with an `image` field.

    Raises:
        ValueError: none of them.
        DamagedArchive: when a tar breaks off.
        ImportError: a .tar.zst without the package zstandard.
    """
    if path.name.endswith(TARS) and path.is_file():
        yield from _members(path)
    elif path.is_dir() or (path.suffix == ".jsonl" and path.is_file()):
        yield from (Picture(entry.key, entry.read(), entry.heldout) for entry in entries(path))
    else:
        raise ValueError(f"{path} is no folder, .tar (.gz, .zst) or .jsonl file with pictures")


def _members(path: Path) -> Iterator[Picture]:
    """Pictures of a tar; those in folders called test are held out, and keys hold their folder."""
    try:
        mode: Any = "r|" if path.suffix == ".zst" else "r:*"
        with opened(path) as stream, tarfile.open(fileobj=stream, mode=mode) as tar:
            for member in tar:
                name = Path(member.name)
                body = tar.extractfile(member) if name.suffix.lower() in SUFFIXES else None
                if body is not None:
                    key, said = placed(name)
                    yield Picture(key, body.read(), said)
    except (tarfile.TarError, *DAMAGE, OSError) as error:
        raise DamagedArchive(f"{path} is a damaged archive ({error}): copy it again") from error


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


def split(
    paths: Sequence[Path],
    size: int,
    crops: int = 0,
    limit: int = 0,
    heldout: Sequence[Path] = (),
    how: Resize = "cover",
) -> Split:
    """Training and held-out pictures of several sources, at most 500 held out of each.

    A key that occurs twice counts once, and is held out if either says so. Held out are only keys without
    skin tone, so that no picture is judged several times.

    Args:
        paths: the sources; see `pictures`.
        size: side in pixels.
        crops: further random square crops of every training picture of more than twice `size`.
        limit: pictures taken of each source at most; 0 takes all.
        heldout: further sources, nothing of which is trained on.
        how: see `io.fit`.

    Raises:
        ValueError: a source that cannot be read, or no picture on one side.
    """

    def views(path: Path, picture: Picture, out: bool) -> list[Tensor]:
        try:
            image = read_image(picture.data)
        except ValueError as error:
            raise ValueError(f"{path}: {picture.key}: {error}") from error
        images = [image] if out else [image, *_crops(image, picture.key, size, crops)]
        return [(to_tensor(each, size, how) * 255).round().to(torch.uint8) for each in images]

    kept, held = _sides(paths, heldout, limit, pictures, views)
    rows = [(view, key, source) for key, (_, found, source) in kept.items() for view in found]
    stacked = torch.stack([view for view, _, _ in rows])
    keys, counts = _listed([(key, source) for _, key, source in rows], len(paths))
    return Split(stacked, torch.stack([found[0] for _, found, _ in held.values()]), keys, list(held), counts)


def shelve(
    paths: Sequence[Path],
    size: int,
    crops: int = 0,
    limit: int = 0,
    heldout: Sequence[Path] = (),
    how: Resize = "cover",
) -> Split:
    """The same with the training pictures left on disk, see `library`; `crops` are made in each batch anyway.

    Raises:
        ValueError: as `split`, or a source that cannot be read in any order.
    """
    kept, held = _sides(paths, heldout, limit, entries, lambda _path, entry, _out: entry)
    judged = Library([entry for _, entry, _ in held.values()], size, how)
    keys, counts = _listed([(key, source) for key, (_, _, source) in kept.items()], len(paths))
    shelf = Library([entry for _, entry, _ in kept.values()], size, how)
    return Split(shelf, judged[torch.arange(len(held))], keys, list(held), counts)


Side = dict[str, tuple[bool, Any, int]]
"""By key: whether it is held out, what was made of it, the number of its source."""


def _sides(
    paths: Sequence[Path],
    heldout: Sequence[Path],
    limit: int,
    read: Callable[[Path], Iterable[Any]],
    make: Callable[[Path, Any, bool], Any],
) -> tuple[Side, Side]:
    """What is trained on, in the order of its sources, and what is held out, by the rules of `split`."""
    found: Side = {}
    for source, path in enumerate([*paths, *heldout]):
        count = {True: 0, False: 0}
        for each in read(path):
            out = source >= len(paths) or (held_out(each.key) if each.heldout is None else each.heldout)
            if count[out] >= (HELDOUT if out else limit or 10**9):
                continue
            count[out] += 1
            made = make(path, each, out)
            found[each.key] = (out or (each.key in found and found[each.key][0]), made, source)
    held = {key: row for key, row in found.items() if row[0] and not _toned(key)}
    banned = {meaning(key) for key in held}
    left = [item for item in found.items() if meaning(item[0]) not in banned]
    kept = dict(sorted(left, key=lambda item: item[1][2]))  # the order within a source stays
    if not kept or not held:
        raise ValueError(
            f"{len(kept)} pictures to train on and {len(held)} held out: need both; add pictures"
        )
    return kept, held


def _listed(rows: Sequence[tuple[str, int]], sources: int) -> tuple[list[str], list[int]]:
    """The keys of (key, source) rows, and how many rows each source has."""
    found = [source for _, source in rows]
    return [key for key, _ in rows], [found.count(number) for number in range(sources)]


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
