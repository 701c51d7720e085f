"""One modality's range of the shared ids, and how its positions lie in a sequence.

A block whose modality has several codes per position comes in one of two layouts, chosen by the vocabulary:

    flat      the parts one after another, each in its own range: k ids, k positions of the sequence
    stacked   one position of the sequence: the first part in the column of ids, the others in `more` beside it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from unitok.modality import Side, Spec


@dataclass(frozen=True)
class Block:
    """Where one modality's ids lie: `[start, start + size)`, with the ids of its begin and end marks (-1: none)."""

    name: str
    start: int
    size: int
    begin: int
    end: int
    length: tuple[int, int | None]
    parts: tuple[int, ...]
    framed: bool
    fingerprint: str
    side: Mapping[str, Side] = field(default_factory=dict)
    stacked: bool = False

    @classmethod
    def of(cls, spec: Spec, start: int, begin: int, stacked: bool = False) -> Block:
        """The block of a modality whose ids begin at `start` and whose marks at `begin`.

        Raises:
            ValueError: stacked, though the modality has no parts to stack.
        """
        if stacked and len(spec.parts) < 2:
            raise ValueError(
                f"block {spec.name!r} cannot be stacked: it has {len(spec.parts) or 1} code per position, only a "
                "modality with several `parts` can; leave it flat"
            )
        if stacked and not spec.framed:
            raise ValueError(
                f"block {spec.name!r} cannot be stacked: it has no marks around it; leave it flat"
            )
        end = begin + 1 if begin >= 0 else -1
        placed = (spec.name, start, spec.size, begin, end, spec.length, spec.parts, spec.framed)
        return cls(*placed, spec.fingerprint, dict(spec.side), stacked)

    @property
    def width(self) -> int:
        """Codes, and so flat local ids, per position of the body, in either layout."""
        return max(1, len(self.parts))

    @property
    def stride(self) -> int:
        """Positions of the sequence that one position of the body takes."""
        return 1 if self.stacked else self.width

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Shared ids (first, past the last) of every part; of the whole block if it has no parts."""
        out, start = [], self.start
        for size in self.parts or (self.size,):
            out.append((start, start + size))
            start += size
        return tuple(out)

    def differs(self, spec: Spec) -> str | None:
        """What of `spec` does not fit this block, in words; None if it fits."""
        if spec.fingerprint != self.fingerprint:
            return f"fingerprint {spec.fingerprint!r} against the recorded {self.fingerprint!r}"
        for name in ("size", "parts", "length", "framed", "side"):
            if getattr(spec, name) != getattr(self, name):
                return f"{name} {getattr(spec, name)} against the recorded {getattr(self, name)}"
        return None

    def to_json(self) -> dict[str, Any]:
        """As plain data. A flat block says nothing of its layout, so files from before there were two stay equal."""
        data = asdict(self)
        if not self.stacked:
            del data["stacked"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Block:
        """The inverse of `to_json`."""
        side = {name: Side(**one) for name, one in data["side"].items()}
        tuples = {"length": tuple(data["length"]), "parts": tuple(data["parts"])}
        return cls(**{**data, **tuples, "side": side})
