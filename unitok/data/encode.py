"""Values of records to codes: loaded, varied and encoded in batches, every item once however often it is used.

An item that cannot be loaded or encoded is `Refused` with a reason and costs one more call; the rest goes on.
Whatever a plug-in throws over an item counts as refusal, so that one damaged file never ends a long run.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unitok.data.sources.record import Blob
from unitok.modality import BadCodes, BadItem, Codes, Item, Modality
from unitok.vocabulary import Vocabulary

BATCH = 128  # items per call of `encode`
CACHED = 1 << 16  # items whose codes are kept for later documents


class Ask(NamedTuple):
    """One value to encode: a string, a file, or a file's content; and at most how many variants of it."""

    block: str
    value: str | Path | Blob
    variants: int


class Refused(NamedTuple):
    """Why a value has no codes."""

    reason: str


Answer = list[Codes] | Refused
"""The codes of an item's variants, the item itself first."""


def resolve(value: Any, root: Path) -> str | Path | Blob:
    """A field's value as an `Ask` wants it; file references start from `root`.

    Raises:
        ValueError: no string, no Blob and no `{"file": ...}`, or a file outside of `root`.
    """
    if isinstance(value, (str, Blob)):
        return value
    if isinstance(value, dict) and isinstance(value.get("file"), str):
        return _inside(root, str(value["file"]))
    raise ValueError(f'value {value!r} is neither a string nor {{"file": "relative/path"}}')


def _inside(root: Path, name: str) -> Path:
    """A file below `root`: a record that came from elsewhere must not read this machine's other files."""
    path = Path(os.path.abspath(root / name))  # links are not followed: they are the user's own
    if not path.is_relative_to(os.path.abspath(root)) or "\0" in name:
        raise ValueError(
            f"file {name!r} lies outside of the source's folder {root}: put it, or a link to it, below that"
        )
    return root / name


class Encoder:
    """Encodes for the blocks of a vocabulary; remembers what strings and files were encoded to.

    Args:
        vocabulary: its blocks check the codes.
        modalities: by block.
    """

    def __init__(self, vocabulary: Vocabulary, modalities: Mapping[str, Modality]) -> None:
        self.vocabulary = vocabulary
        self.modalities = modalities
        self._known: OrderedDict[tuple[str, str | Path], tuple[int, Answer]] = OrderedDict()

    def encode(self, asks: Iterable[Ask]) -> dict[Ask, Answer]:
        """The answers to all `asks`; equal asks are answered once."""
        out: dict[Ask, Answer] = {}
        loaded: dict[str, list[tuple[Ask, list[Item]]]] = {}
        for ask in dict.fromkeys(asks):
            known = self._recall(ask)
            items = self._load(ask) if known is None else []
            if known is not None:
                out[ask] = known
            elif isinstance(items, Refused):
                out[ask] = items
            else:
                loaded.setdefault(ask.block, []).append((ask, items))
        for block, wanted in loaded.items():
            codes = iter(self._codes(block, [item for _, items in wanted for item in items]))
            for ask, items in wanted:
                answer = _together([next(codes) for _ in items])
                out[ask] = answer
                self._remember(ask, answer)
        return out

    def _load(self, ask: Ask) -> list[Item] | Refused:
        modality = self.modalities[ask.block]
        try:
            item = self._read(modality, ask.value)
            return modality.variants(item, ask.variants)[: ask.variants] if ask.variants > 1 else [item]
        except FileNotFoundError:
            return Refused(f"there is no file {ask.value}")
        except ImportError:
            raise  # a missing package is no fault of the item
        except Exception as error:
            return Refused(f"{ask.block}: {_words(error)}")

    @staticmethod
    def _read(modality: Modality, value: str | Path | Blob) -> Item:
        if isinstance(value, str):
            return value
        if isinstance(value, Path):
            if not modality.spec.framed and value.suffix.lower() not in modality.suffixes:
                return value.read_bytes().decode()
            return modality.load(value)
        suffix = value.suffix or next(iter(modality.suffixes), "")
        if suffix not in modality.suffixes:
            known = ", ".join(modality.suffixes) or "none"
            raise ValueError(f"it cannot be read from a {suffix or 'nameless'} file; use one of {known}")
        return modality.read(value.data, suffix)

    def _codes(self, block: str, items: Sequence[Item]) -> list[Codes | Refused]:
        out: list[Codes | Refused] = []
        for start in range(0, len(items), BATCH):
            out += _encode(self.modalities[block], items[start : start + BATCH])
        return [self._checked(block, codes) for codes in out]

    def _checked(self, block: str, codes: Codes | Refused) -> Codes | Refused:
        if isinstance(codes, Codes):
            try:
                self.vocabulary.flat(block, codes)
            except BadCodes as error:
                return Refused(str(error))
            return codes
        return Refused(f"{block}: {codes.reason}")

    def _remember(self, ask: Ask, answer: Answer) -> None:
        # Text strings are long and rarely come back, file contents would fill the memory.
        if isinstance(ask.value, Blob) or ask.block == self.vocabulary.text:
            return
        self._known[ask.block, ask.value] = ask.variants, answer
        if len(self._known) > CACHED:
            self._known.popitem(last=False)

    def _recall(self, ask: Ask) -> Answer | None:
        """A known answer, also one for more variants than are asked for now: the item itself is always first."""
        if isinstance(ask.value, Blob):
            return None
        variants, answer = self._known.get((ask.block, ask.value), (0, []))
        if variants < ask.variants:
            return None
        self._known.move_to_end((ask.block, ask.value))
        return answer if isinstance(answer, Refused) else answer[: ask.variants]


def _together(codes: list[Codes | Refused]) -> Answer:
    """The variants of one item: all of them, or the first refusal."""
    good = []
    for one in codes:
        if isinstance(one, Refused):
            return one
        good.append(one)
    return good


def _words(error: Exception) -> str:
    """An error in words; what a decoder of damaged files may throw (zlib, struct, zipfile...) with its name."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _encode(modality: Modality, items: Sequence[Item]) -> list[Codes | Refused]:
    """Encode a batch; an item that is refused leaves it, and the rest is tried again."""
    out: dict[int, Codes | Refused] = {}
    left = list(range(len(items)))
    while left:
        try:
            codes = modality.encode([items[i] for i in left])
        except BadItem as error:
            out[left.pop(error.index)] = Refused(error.reason)
            continue
        except ImportError:
            raise
        except Exception as error:
            # The modality did not say which item it was: try them one at a time.
            if len(left) == 1:
                out[left[0]] = Refused(_words(error))
            else:
                out.update((i, _encode(modality, [items[i]])[0]) for i in left)
            break
        out.update(zip(left, codes, strict=True))
        break
    return [out[i] for i in range(len(items))]
