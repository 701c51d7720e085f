"""`text.pieces`: SentencePiece BPE with byte fallback, exact on every Unicode string.

str -> Codes.ids int64 [n]. The model that ships has 2,048 pieces, trained by tools/train_text.py on the demo
data. SentencePiece writes a space as U+2581, so that character itself is encoded by its three bytes; with
the options of the training tool every string of Unicode scalar values then comes back exactly, and the codes
of a + b may be those of a followed by those of b. There are no control pieces: text that spells a mark or
"<unk>" or "<0x41>" becomes ordinary pieces.

Papers: Kudo and Richardson 2018 (SentencePiece, arXiv 1808.06226); Sennrich et al. 2016 (BPE, arXiv 1508.07909).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from unitok.modality import BadCodes, BadItem, Codes, Item, Legal, Modality, Spec

from .raw import check_text, read_text
from .utf8 import LEADS, follow

MODEL = Path(__file__).parent / "weights" / "pieces_2048.model"
SPACE = "\u2581"


class Pieces(Modality):
    """Text as SentencePiece pieces.

    Args:
        model: a SentencePiece model file with byte fallback and without normalisation; the shipped one
            by default.
    """

    suffixes = (".txt",)

    def __init__(self, model: str | Path | None = None) -> None:
        path = Path(model) if model is not None else MODEL
        self._model = path.read_bytes()
        self._load(str(path))
        digest = hashlib.sha256(self._model).hexdigest()
        self.spec = Spec("text", len(self._bytes), (1, None), fingerprint=digest, framed=False)

    def _load(self, path: str) -> None:
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=self._model)
        except RuntimeError as error:
            raise ValueError(f"{path} is not a SentencePiece model ({error}): give a .model file") from error
        size = self._processor.get_piece_size()
        piece, is_byte = self._processor.id_to_piece, self._processor.is_byte
        raw = [i for i in range(size) if is_byte(i)]
        if len(raw) != 256 or raw != list(range(raw[0], raw[0] + 256)):
            raise ValueError(f"{path} has {len(raw)} byte pieces: train it with byte_fallback=True")
        self._raw = raw[0]
        self._bytes = [
            bytes([i - self._raw]) if is_byte(i) else piece(i).replace(SPACE, " ").encode()
            for i in range(size)
        ]
        plain = [i for i in range(size) if not (is_byte(i) or self._special(i))]
        self._plain = _ranges(plain)
        leads = tuple(range(self._raw + r.start, self._raw + r.stop) for r in LEADS)
        self._start = (*self._plain, *leads)
        self._space = [self._raw + byte for byte in SPACE.encode()]

    def _special(self, i: int) -> bool:
        model = self._processor
        return bool(model.is_unknown(i) or model.is_control(i) or model.is_unused(i))

    def __getstate__(self) -> dict[str, Any]:
        return {"spec": self.spec, "_model": self._model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load("the pickled model")

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Strings to pieces, int64 [n] each.

        Raises:
            BadItem: no string, empty, a lone surrogate, or a model that does not give the string back.
        """
        texts = [check_text(index, item) for index, item in enumerate(items)]
        out = []
        for index, text in enumerate(texts):
            ids: list[int] = []
            for number, part in enumerate(text.split(SPACE)):
                ids += self._space if number else []
                ids += self._processor.encode(part) if part else []
            if b"".join(self._bytes[i] for i in ids) != text.encode():
                raise BadItem(
                    index,
                    "the model does not keep this text: train it with the options of tools/train_text.py",
                )
            out.append(Codes(torch.tensor(ids, dtype=torch.int64)))
        return out

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Pieces to strings. Raises `BadCodes` where there are none, out of range, or cut in a character."""
        return [self._decode(one.ids.tolist()) for one in codes]

    def _decode(self, ids: list[int]) -> str:
        if not ids:
            raise BadCodes("text of no pieces: a text body has at least one")
        wrong = [i for i in ids if not 0 <= i < len(self._bytes) or self._special(i)]
        if wrong:
            raise BadCodes(f"text code {wrong[0]} is not a piece: use 1 to {len(self._bytes) - 1}")
        try:
            return b"".join(self._bytes[i] for i in ids).decode()
        except UnicodeDecodeError as error:
            raise BadCodes(
                f"byte pieces are not UTF-8 at byte {error.start} ({error.reason}): sample with the grammar, "
                "and cut text only between characters"
            ) from error

    def _tail(self, prefix: Sequence[int]) -> list[int]:
        """The byte pieces at the end of `prefix` (at most the last three), as bytes."""
        tail: list[int] = []
        for i in reversed(prefix[-3:]):
            if not self._raw <= i < self._raw + 256:
                break
            tail.insert(0, i - self._raw)
        return tail

    def legal(self, prefix: Sequence[int]) -> Legal:
        """A character begun in byte pieces is completed first; then any piece but unknown and control."""
        if prefix and not self._raw <= prefix[-1] < self._raw + 256:
            return Legal(self._start)  # the usual case, and this runs every step
        ranges, missing = follow(self._tail(prefix))
        if not missing:
            return Legal(self._start, end=len(prefix) > 0)
        return Legal(tuple(range(self._raw + r.start, self._raw + r.stop) for r in ranges), end=False)

    def shortest_end(self, prefix: Sequence[int]) -> int:
        """Byte pieces missing from the last character (1 for an empty body)."""
        if prefix and not self._raw <= prefix[-1] < self._raw + 256:
            return 0  # the usual case, as in `legal`
        return follow(self._tail(prefix))[1] if prefix else 1

    def read(self, data: bytes, suffix: str) -> Item:
        """A UTF-8 text file."""
        return read_text(data, suffix)

    def write(self, item: Item, suffix: str) -> bytes:
        """A UTF-8 text file."""
        return check_text(0, item).encode("utf-8")


def _ranges(ids: Sequence[int]) -> tuple[range, ...]:
    """Sorted ids as ranges without gaps."""
    out: list[range] = []
    for i in ids:
        out = (
            [*out[:-1], range(out[-1].start, i + 1)] if out and out[-1].stop == i else [*out, range(i, i + 1)]
        )
    return tuple(out)
