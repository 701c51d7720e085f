"""Captions in SEED's training: where they stand beside pictures, and the small reader that makes vectors of them.

    found = captions(Path("photos.tar"))                 # {"1000268201": ("A child in a pink dress …", …), …}
    ids = hashed(["a red fox"], buckets=4096, words=32)  # int64 [1, 32, GRAMS]
    CaptionReader(config, channels=128)(ids)             # [1, 128]

A word is the mean of the embeddings of itself and of its character trigrams, all hashed into one table, so that
there is no vocabulary to keep, and words that were never seen are still like those with the same stem (Bojanowski
et al., arXiv:1607.04606). The publication reads with the Q-Former's own BERT, which its released file left out.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unitok.packed import DAMAGE, opened

from ..common.blocks import Block, Tokens, init_linear
from .library import placed
from .seed_config import CaptionConfig
from .sources import TARS, DamagedArchive

GRAMS = 12
"""Hashed pieces of a word at most: itself, and its first trigrams."""
WORD = re.compile(r"\w+")


def captions(path: Path) -> dict[str, tuple[str, ...]]:
    """The captions of a source's pictures, by the keys that `sources.pictures` gives them.

    In a tar or a folder a picture's captions are a .json or .txt file of its name. A .json file, or a record of a
    .jsonl file, has `captions`, `caption`, `text` or `label` (and `tags`, which make a second caption with the label).

    Raises:
        ValueError: no such source, or a record that is no JSON.
        DamagedArchive: a tar that breaks off.
    """
    found = {key: _texts(said) for key, said in _records(path)}
    return {key: texts for key, texts in found.items() if texts}


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    if path.name.endswith(TARS) and path.is_file():
        yield from _members(path)
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in (".json", ".txt") and file.is_file():
                name = file.relative_to(path)
                yield placed(name)[0], _said(file.read_bytes(), name)
    elif path.suffix == ".jsonl" and path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                record = _said(line.encode(), Path(f"{path.name}:{number}.json"))
                image = record.get("image") if isinstance(record, dict) else None
                name = image.get("file") if isinstance(image, dict) else image
                if isinstance(name, str) and name:
                    yield Path(name).stem, record
                    yield "-".join(Path(name).with_suffix("").parts), record
    else:
        raise ValueError(f"{path} is no folder, .tar (.gz, .zst) or .jsonl file with captioned pictures")


def _members(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        mode: Any = "r|" if path.suffix == ".zst" else "r:*"
        with opened(path) as stream, tarfile.open(fileobj=stream, mode=mode) as tar:
            for member in tar:
                name = Path(member.name)
                body = tar.extractfile(member) if name.suffix in (".json", ".txt") else None
                if body is not None:
                    yield placed(name)[0], _said(body.read(), name)
    except (tarfile.TarError, *DAMAGE, OSError) as error:
        raise DamagedArchive(f"{path} is a damaged archive ({error}): copy it again") from error


def _said(data: bytes, name: Path) -> Any:
    text = data.decode("utf-8", errors="replace")
    if name.suffix == ".txt":
        return {"captions": text.splitlines()}
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name.with_suffix('')} is no JSON ({str(error)[:80]}): mend it") from error


def _texts(record: Any) -> tuple[str, ...]:
    """The captions in a record, without empty ones."""
    if not isinstance(record, dict):
        return ()
    key = next((key for key in ("captions", "caption", "text", "label") if record.get(key)), None)
    texts = [] if key is None else record[key]
    texts = [texts] if isinstance(texts, str) else texts
    texts = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    tags = record.get("tags")
    if key == "label" and texts and isinstance(tags, list) and tags:
        texts.append(", ".join([texts[0], *(str(tag) for tag in tags)]))
    return tuple(texts)


def hashed(texts: Sequence[str], buckets: int, words: int) -> Tensor:
    """Words of captions and their trigrams as numbers from 1 to `buckets`, 0 where there is none: [B, words, GRAMS]."""
    ids = torch.zeros(len(texts), words, GRAMS, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        for place, word in zip(row, WORD.findall(text.lower())[:words], strict=False):
            edged = f"<{word}>"
            pieces = [edged, *(edged[at : at + 3] for at in range(len(edged) - 2))][:GRAMS]
            numbers = [1 + zlib.crc32(piece.encode()) % buckets for piece in pieces]
            place[: len(numbers)] = torch.tensor(numbers)
    return ids


class CaptionReader(nn.Module):
    """Hashed captions [B, T, GRAMS] to vectors [B, channels]."""

    def __init__(self, config: CaptionConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.buckets + 1, config.width)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.place = Tokens(config.words, config.width, std=0.1)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, dropout=config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, channels)
        self.apply(init_linear)

    def ids(self, texts: Sequence[str]) -> Tensor:
        """See `hashed`."""
        return hashed(texts, self.config.buckets, self.config.words)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class; a caption without words gets the vector of an empty one."""
        pieces = (ids > 0).unsqueeze(-1)
        x = (self.embed(ids) * pieces).sum(2) / pieces.sum(2).clamp(min=1) + self.place(len(ids))
        seen = ids[..., 0] > 0
        if self.training and self.config.dropout:
            seen = seen & (torch.rand(seen.shape, device=seen.device) >= self.config.dropout)
        seen = torch.cat([seen[:, :1] | ~seen.any(1, keepdim=True), seen[:, 1:]], dim=1)  # someone must be
        for block in self.blocks:
            x = block(x, mask=seen[:, None, None, :])
        kept = seen.unsqueeze(-1)
        out: Tensor = self.out((self.norm(x) * kept).sum(1) / kept.sum(1))
        return out
