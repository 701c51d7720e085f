"""The shared vocabulary: which ids belong to which block. Nothing else in unitok knows offsets.

Layout: `[text at 0 | 256 reserved marks | block | block ...]`; every start is aligned to 64, the total to
128. Text at 0 keeps a pretrained LLM's own ids valid. The marks are reserved up front, so that `extend`
only appends and no id ever moves. Each block keeps the fingerprint of its tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unitok.block import Block
from unitok.modality import BadCodes, Codes, Modality, Side, Spec
from unitok.segment import Mark, Segment
from unitok.stacking import Stacking, serial

RESERVED = 256
ALIGN = 64
PAD_TO = 128
FORMAT = 1


class VocabularyMismatch(ValueError):
    """Ids made with one vocabulary or tokenizer meet another."""


def _align(n: int, to: int) -> int:
    return -(-n // to) * to


class Vocabulary:
    """An immutable layout of blocks and marks."""

    MARKS = ("pad", "doc", "end", "system", "user", "assistant", "turn", "null")

    def __init__(self, blocks: Iterable[Block], marks_start: int) -> None:
        self.blocks: dict[str, Block] = {block.name: block for block in blocks}
        self.kinds: tuple[str, ...] = ("mark", *self.blocks)
        self.marks_start = marks_start
        self.text = next((b.name for b in self.blocks.values() if not b.framed), None)
        self._marks = {name: marks_start + i for i, name in enumerate(self.MARKS)}
        for block in self.blocks.values():
            if block.framed:
                self._marks[block.name] = block.begin
                self._marks["/" + block.name] = block.end
        self._mark_names = {i: name for name, i in self._marks.items()}
        used = max([marks_start + RESERVED, *(b.start + b.size for b in self.blocks.values())])
        self._size = _align(used, PAD_TO)
        self._kind = self._kind_table()
        sizes = {name: block.parts or (block.size,) for name, block in self.blocks.items()}
        self._limits = {name: torch.tensor(parts) for name, parts in sizes.items()}
        self._offsets = {name: limits.cumsum(0) - limits for name, limits in self._limits.items()}
        self._stacking = Stacking(self.blocks.values(), self._size)
        self._frames = {
            b.name: (torch.tensor([b.begin]), torch.tensor([b.end])) for b in self.blocks.values()
        }

    @classmethod
    def build(cls, modalities: Mapping[str, Modality | Spec], stacked: Collection[str] = ()) -> Vocabulary:
        """Lay out the blocks in the given order, the unframed one (text) first of all.

        Args:
            modalities: by block.
            stacked: blocks whose parts share one position of the sequence, see `unitok.block`.

        Raises:
            ValueError: a block to stack that is not there or has no parts.
        """
        specs = [_spec(name, modality) for name, modality in modalities.items()]
        text = [spec for spec in specs if not spec.framed]
        if len(text) > 1:
            raise ValueError(f"{', '.join(s.name for s in text)} are all unframed: only one block may be")
        blocks = []
        if text:
            blocks.append(Block.of(text[0], 0, -1, text[0].name in stacked))
        marks_start = _align(text[0].size if text else 0, ALIGN)
        bare = cls(blocks, marks_start)
        _check_stacked(stacked, modalities)
        return bare._append((spec for spec in specs if spec.framed), stacked)

    def extend(self, modalities: Mapping[str, Modality | Spec], stacked: Collection[str] = ()) -> Vocabulary:
        """A vocabulary with further blocks after the present ones; no existing id moves."""
        specs = [_spec(name, modality) for name, modality in modalities.items()]
        _check_stacked(stacked, modalities)
        for spec in specs:
            if not spec.framed:
                raise ValueError(
                    f"{spec.name!r} is unframed: text lies at 0 and can only be there from the start"
                )
            if spec.name in self.blocks:
                raise ValueError(f"block {spec.name!r} exists already: choose another name")
        return self._append(specs, stacked)

    def _append(self, specs: Iterable[Spec], stacked: Collection[str]) -> Vocabulary:
        blocks = list(self.blocks.values())
        end = max([self.marks_start + RESERVED, *(b.start + b.size for b in blocks)])
        framed = sum(b.framed for b in blocks)
        for spec in specs:
            begin = self.marks_start + len(self.MARKS) + 2 * framed
            if begin + 2 > self.marks_start + RESERVED:
                raise ValueError(f"no marks left for block {spec.name!r}: {RESERVED} are reserved")
            blocks.append(Block.of(spec, _align(end, ALIGN), begin, spec.name in stacked))
            end = blocks[-1].start + spec.size
            framed += 1
        return Vocabulary(blocks, self.marks_start)

    def __len__(self) -> int:
        """Number of ids, padding included."""
        return self._size

    def mark(self, name: str) -> int:
        """The id of a mark: one of MARKS, "image" (begin) or "/image" (end)."""
        if name not in self._marks:
            raise KeyError(f"no mark is called {name!r}: there are {', '.join(self._marks)}")
        return self._marks[name]

    def block(self, name: str) -> Block:
        """The block called `name`."""
        if name not in self.blocks:
            raise KeyError(f"no block is called {name!r}: there are {', '.join(self.blocks)}")
        return self.blocks[name]

    @property
    def channels(self) -> dict[str, Side]:
        """All companion channels, "<block>_<channel>"."""
        return {f"{b.name}_{name}": side for b in self.blocks.values() for name, side in b.side.items()}

    @property
    def more(self) -> int:
        """Width of the column `more`: the most further parts of any stacked block, 0 without one."""
        return self._stacking.more

    @property
    def stacks(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """Shared ids (first, past the last) of the further parts of every stacked block."""
        return dict(self._stacking.ranges)

    # ---------------------------------------------------------------- codes in and out

    def flat(self, name: str, codes: Codes) -> Tensor:
        """Flat local ids, int64 [n] or [n * k]: the parts of a position one after another, each in its own range.

        Raises:
            BadCodes: wrong shape, an id out of range, or a length the block does not have.
        """
        block = self.block(name)
        ids = codes.ids.long()
        wanted = 2 if block.parts else 1
        if ids.ndim != wanted or (block.parts and ids.shape[1] != len(block.parts)):
            shape = f"[n, {len(block.parts)}]" if block.parts else "[n]"
            raise BadCodes(f"{name} codes have shape {list(ids.shape)}: they must be {shape}")
        limits, offsets = self._limits[name], self._offsets[name]
        wrong = (ids < 0) | (ids >= limits if block.parts else ids >= block.size)
        if wrong.any():
            raise BadCodes(f"{name} code {int(ids[wrong][0])} is out of range: 0 <= code < {limits.tolist()}")
        self._check_length(block, len(codes))
        return (ids + offsets).reshape(-1) if block.parts else ids

    def unflat(self, name: str, flat: Tensor) -> Codes:
        """The inverse of `flat`.

        Raises:
            BadCodes: cut inside a position, a part in another part's range, or a wrong length.
        """
        block = self.block(name)
        flat = flat.long()
        if len(flat) % block.width:
            raise BadCodes(f"{name} body has {len(flat)} ids: a position takes {block.width}, so one is cut")
        codes = Codes(flat.reshape(-1, block.width) - self._offsets[name] if block.parts else flat)
        self.flat(name, codes)
        return codes

    @staticmethod
    def _check_length(block: Block, n: int) -> None:
        lo, hi = block.length
        if block.framed and (n < lo or (hi is not None and n > hi)):
            rule = f"exactly {lo}" if lo == hi else f"at least {lo}" if hi is None else f"{lo} to {hi}"
            raise BadCodes(f"{block.name} body has {n} positions: it must have {rule}")

    def frame(self, name: str, codes: Codes) -> Tensor:
        """Shared ids int64 [L] of one item: begin mark, ids, end mark; text has no marks.

        Of a stacked block the ids of the first parts; `frame_more` has the others.
        """
        block = self.block(name)
        body = self.flat(name, codes)[:: block.width // block.stride] + block.start
        if not block.framed:
            return body
        begin, end = self._frames[name]
        return torch.cat([begin, body, end])

    def frame_more(self, name: str, codes: Codes) -> Tensor:
        """The column `more` beside `frame`, int64 [L, more]: shared ids of further parts, -1 where there are none."""
        block = self.block(name)
        more = torch.full((len(codes) * block.stride + 2 * block.framed, self.more), -1)
        if block.stacked:
            body = self.flat(name, codes).reshape(-1, block.width)[:, 1:] + block.start
            more[int(block.framed) :][: len(codes), : body.shape[1]] = body
        return more

    def fold(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids [L] and more [L, more] of serial ids [N]; see `unitok.stacking`.

        Raises:
            BadCodes: a stacked position that is not whole.
        """
        return self._stacking.fold(ids)

    def parse(self, ids: Tensor | Iterable[int], more: Tensor | None = None) -> list[Segment | Mark]:
        """Segments and marks of a stream of shared ids; the inverse of framing, neighbouring text joined.

        Args:
            ids: [L].
            more: the column beside them, [L, more]; without it the parts of stacked blocks follow one another.

        Raises:
            BadCodes: an id that is no code and no mark, a truncated span, or a span that is malformed.
        """
        stream = [int(i) for i in (ids if more is None else serial(torch.as_tensor(ids), more))]
        kinds = self.kind_of(np.asarray(stream, dtype=np.int64)) if stream else np.zeros(0, np.uint8)
        text = self.kinds.index(self.text) if self.text is not None else -1
        out: list[Segment | Mark] = []
        at = 0
        while at < len(stream):
            name = self._mark_names.get(stream[at])
            stop = at + 1
            if name is not None and name not in self.blocks:
                if name.startswith("/"):
                    raise BadCodes(f"position {at}: <{name}> closes a span that was never opened")
                out.append(Mark(name))
            elif name is not None:
                stop = self._close(stream, at, self.blocks[name])
                body = torch.tensor(stream[at + 1 : stop - 1], dtype=torch.int64) - self.blocks[name].start
                out.append(Segment(name, self.unflat(name, body)))
            elif kinds[at] == text:
                while stop < len(stream) and kinds[stop] == kinds[at]:
                    stop += 1
                out.append(Segment(self.kinds[text], Codes(torch.tensor(stream[at:stop], dtype=torch.int64))))
            else:
                raise BadCodes(f"position {at}: id {stream[at]} stands outside a span or belongs to no block")
            at = stop
        return out

    def _close(self, stream: list[int], at: int, block: Block) -> int:
        stop = at + 1
        while stop < len(stream) and block.start <= stream[stop] < block.start + block.size:
            stop += 1
        if stop == len(stream):
            raise BadCodes(f"position {at}: the {block.name} span is truncated: its end mark is missing")
        if stream[stop] != block.end:
            raise BadCodes(
                f"position {stop}: id {stream[stop]} inside a {block.name} span is not one of its codes"
            )
        return stop + 1

    def _kind_table(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        table = np.full(self._size, 255, dtype=np.uint8)
        table[list(self._marks.values())] = 0
        for i, block in enumerate(self.blocks.values()):
            table[block.start : block.start + block.size] = i + 1
        return table

    def kind_of(self, ids: Tensor | np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """uint8 of the same shape: 0 for marks, i + 1 for the i-th block, 255 for ids that mean nothing."""
        ids = np.asarray(ids)
        if ids.size and (ids.min() < 0 or ids.max() >= self._size):
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise BadCodes(f"id {int(wrong)} is outside the vocabulary of {self._size} ids")
        kinds: np.ndarray[Any, np.dtype[np.uint8]] = self._kind[ids]
        return kinds

    # ---------------------------------------------------------------- on disk

    def to_json(self) -> dict[str, Any]:
        """The layout as plain data, as `unitok.json` holds it."""
        return {
            "format": FORMAT,
            "size": self._size,
            "marks": self._marks,
            "marks_start": self.marks_start,
            "blocks": [block.to_json() for block in self.blocks.values()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vocabulary:
        """The inverse of `to_json`."""
        if data.get("format") != FORMAT:
            raise ValueError(
                f"vocabulary format {data.get('format')!r} is not {FORMAT}: made by another version"
            )
        blocks = [Block.from_json(block) for block in data["blocks"]]
        return cls(blocks, data["marks_start"])

    @property
    def fingerprint(self) -> str:
        """Hash of the whole layout, the tokenizers' fingerprints included."""
        return _hash(self.to_json())

    def save(self, path: str | Path) -> None:
        """Write `unitok.json` (into the folder, if `path` is one)."""
        path = Path(path)
        path = path / "unitok.json" if path.is_dir() else path
        path.write_text(json.dumps({**self.to_json(), "fingerprint": self.fingerprint}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            VocabularyMismatch: the file was changed since: its layout does not have its fingerprint.
            ValueError: the file is none that `save` wrote.
        """
        path = Path(path)
        path = path / "unitok.json" if path.is_dir() else path
        fix = "take the unitok.json that was saved with the model or the data"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            said, found = data.pop("fingerprint", None), _hash(data)
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is no vocabulary ({error}): {fix}") from error
        if said != found:
            raise VocabularyMismatch(
                f"{path} says fingerprint {said!r}, but its layout has {found!r}: it was changed; {fix}"
            )
        return cls.from_json(data)

    def check(self, modalities: Mapping[str, Modality | Spec]) -> None:
        """Raise VocabularyMismatch, naming both fingerprints, unless every block has its own tokenizer here."""
        for name, block in self.blocks.items():
            if name not in modalities:
                raise VocabularyMismatch(
                    f"block {name!r} has no modality: create it before using this vocabulary"
                )
            difference = block.differs(_spec(name, modalities[name]))
            if difference:
                raise VocabularyMismatch(
                    f"block {name!r} was made by another tokenizer: {difference}; use the tokenizer it was made "
                    "with, or build the data anew"
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        blocks = ", ".join(f"{b.name} [{b.start}, {b.start + b.size})" for b in self.blocks.values())
        return f"Vocabulary({self._size} ids: {blocks})"


def _hash(layout: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest()[:16]


def _spec(name: str, modality: Modality | Spec) -> Spec:
    spec = modality if isinstance(modality, Spec) else modality.spec
    if spec.name != name:
        raise ValueError(
            f"a modality of block {spec.name!r} stands under the name {name!r}: use {spec.name!r}"
        )
    if name in Vocabulary.MARKS or name == "mark":
        raise ValueError(f"block {name!r} has the name of a mark: choose another")
    return spec


def _check_stacked(stacked: Collection[str], modalities: Collection[str]) -> None:
    for name in stacked:
        if name not in modalities:
            raise ValueError(f"there is no block {name!r} to stack: {', '.join(modalities)}")
