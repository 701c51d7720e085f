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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .io import SUFFIXES, read_image, to_tensor

NOT_MEANING = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff", "fe0f", "200d"}  # skin tones, selector, joiner


class Picture(NamedTuple):
    """One file: its key, its bytes, and whether a record says that it is held out (None: it does not say)."""

    key: str
    data: bytes
    heldout: bool | None = None


def pictures(path: Path) -> Iterator[Picture]:
    """All pictures of a folder (with its subfolders), a tar, or a jsonl file with an `image` field.

    Raises:
        ValueError: neither of them.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                yield Picture(file.stem, file.read_bytes())
    elif path.suffix == ".tar" and path.is_file():
        with tarfile.open(path) as tar:
            for member in tar:
                body = tar.extractfile(member) if Path(member.name).suffix.lower() in SUFFIXES else None
                if body is not None:
                    yield Picture(Path(member.name).stem, body.read())
    elif path.suffix == ".jsonl" and path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            image = record.get("image")
            file_name = image.get("file") if isinstance(image, dict) else image
            if file_name:
                said = record["split"] == "heldout" if "split" in record else None
                yield Picture(Path(file_name).stem, (path.parent / file_name).read_bytes(), said)
    else:
        raise ValueError(f"{path} is no folder, .tar or .jsonl file with pictures")


def is_heldout(key: str) -> bool:
    """The rule that holds out a tenth of the keys."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10 == 0


def meaning(key: str) -> str:
    """A code-point key without skin tones, variation selectors and joiners."""
    return "-".join(part for part in key.split("-") if part not in NOT_MEANING)


def split(paths: list[Path], size: int, crops: int = 0) -> tuple[Tensor, Tensor]:
    """Training and held-out pictures of several sources: uint8 [n, 3, size, size] each.

    A key that occurs twice counts once, and is held out if either says so. Held out are only keys without
    skin tone, so that no picture is judged several times.

    Args:
        paths: the sources; see `pictures`.
        size: side in pixels.
        crops: further random square crops of every training picture of more than twice `size`.

    Raises:
        ValueError: a source that cannot be read, or no picture on one side.
    """
    found: dict[str, tuple[bool, list[Tensor]]] = {}
    for path in paths:
        for picture in pictures(path):
            out = is_heldout(picture.key) if picture.heldout is None else picture.heldout
            try:
                image = read_image(picture.data)
            except ValueError as error:
                raise ValueError(f"{path}: {picture.key}: {error}") from error
            views = [image, *_crops(image, picture.key, size, crops)]
            out = out or (picture.key in found and found[picture.key][0])
            found[picture.key] = (
                out,
                [(to_tensor(each, size) * 255).round().to(torch.uint8) for each in views],
            )
    plain = {key for key, (out, _) in found.items() if out and not _toned(key)}
    banned = {meaning(key) for key in plain}
    heldout = [views[0] for key, (_, views) in found.items() if key in plain]
    train = [view for key, (_, views) in found.items() if meaning(key) not in banned for view in views]
    if not train or not heldout:
        raise ValueError(
            f"{len(train)} pictures to train on and {len(heldout)} held out: need both; add pictures"
        )
    return torch.stack(train), torch.stack(heldout)


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
