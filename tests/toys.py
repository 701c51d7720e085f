"""Small modalities that cover every kind of body: text, fixed, ranged, open, several parts, companions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unitok import BadCodes, BadItem, Codes, Legal, Modality, Side, Spec


class Letters(Modality):
    """Text of 100 letters; letter 99 must be followed by letter 98 (as a cut UTF-8 character must go on)."""

    def __init__(self, fingerprint: str = "letters") -> None:
        self.spec = Spec("text", 100, (1, None), fingerprint, framed=False)

    def encode(self, items: Sequence[Sequence[int]]) -> list[Codes]:
        return [Codes(torch.tensor(item, dtype=torch.int64)) for item in items]

    def decode(self, codes: Sequence[Codes]) -> list[list[int]]:
        for one in codes:
            if one.ids[-1] == 99:
                raise BadCodes("cut after 99")
        return [one.ids.tolist() for one in codes]

    def legal(self, prefix: Sequence[int]) -> Legal:
        if prefix and prefix[-1] == 99:
            return Legal((range(98, 99),), end=False)
        return Legal((range(99), range(99, 100)))

    def shortest_end(self, prefix: Sequence[int]) -> int:
        return int(not prefix or prefix[-1] == 99)


class Plain(Modality):
    """Integers as codes, with the length and parts that are asked for."""

    def __init__(
        self,
        name: str,
        size: int,
        length: tuple[int, int | None],
        parts: tuple[int, ...] = (),
        side: dict[str, Side] | None = None,
        fingerprint: str = "",
        nested: tuple[int, ...] = (),
    ) -> None:
        fingerprint = fingerprint or f"{name}-{size}"
        self.spec = Spec(name, size, length, fingerprint, parts=parts, side=side or {}, nested=nested)

    def encode(self, items: Sequence[list[int] | list[list[int]]]) -> list[Codes]:
        out = []
        for i, item in enumerate(items):
            if not len(item):
                raise BadItem(i, "an empty list has no codes")
            ids = torch.tensor(item, dtype=torch.int64)
            side = {
                name: torch.full((len(item), s.width), 1 if s.kind == "ids" else 0.5).to(
                    torch.int64 if s.kind == "ids" else torch.float32
                )
                for name, s in self.spec.side.items()
            }
            out.append(Codes(ids, side))
        return out

    def decode(self, codes: Sequence[Codes]) -> list[list[int]]:
        return [one.ids.tolist() for one in codes]


class Filed(Plain):
    """Four numbers under eight, kept in files as text."""

    def __init__(self) -> None:
        super().__init__("image", 8, (4, 4))

    def read(self, data: bytes, suffix: str) -> tuple[int, ...]:
        return tuple(map(int, data.split()))

    def write(self, item: Sequence[int], suffix: str) -> bytes:
        return " ".join(map(str, item)).encode()


class Brackets(Plain):
    """Codes 0 "(", 1 ")" and 2 "x": every bracket that opens must close, however deep."""

    def __init__(self, name: str = "formula") -> None:
        super().__init__(name, 3, (1, None))

    @staticmethod
    def depth(prefix: Sequence[int]) -> int:
        return sum((1, -1, 0)[code] for code in prefix)

    def decode(self, codes: Sequence[Codes]) -> list[list[int]]:
        for one in codes:
            if self.depth(one.ids.tolist()):
                raise BadCodes("a bracket does not close")
        return super().decode(codes)

    def legal(self, prefix: Sequence[int]) -> Legal:
        depth = self.depth(prefix)
        return Legal(
            (range(1), *([range(1, 2)] if depth else []), range(2, 3)), end=bool(prefix) and not depth
        )

    def shortest_end(self, prefix: Sequence[int]) -> int:
        return self.depth(prefix) if prefix else 1


class Pairs(Plain):
    """Two codes per position, the second one or two above the first; a body may end only after a pair (0, ...)."""

    def __init__(self, name: str = "pair") -> None:
        super().__init__(name, 12, (1, None), parts=(6, 6))

    def decode(self, codes: Sequence[Codes]) -> list[list[int]]:
        for one in codes:
            first, second = one.ids.unbind(1)
            if not ((second - first) % 6 - 1 < 2).all() or second.eq(first).any() or first[-1] != 0:
                raise BadCodes(
                    f"{one.ids.tolist()} has a second code that does not follow, or ends too early"
                )
        return super().decode(codes)

    def legal(self, prefix: Sequence[int]) -> Legal:
        if len(prefix) % 2:
            above = sorted(6 + (prefix[-1] + i) % 6 for i in (1, 2))
            return Legal(tuple(range(second, second + 1) for second in above), end=False)
        return Legal((range(1), range(1, 6)), end=bool(prefix) and prefix[-2] == 0)

    def shortest_end(self, prefix: Sequence[int]) -> int:
        if len(prefix) % 2:
            return 1 if prefix[-1] == 0 else 3
        return 0 if prefix and prefix[-2] == 0 else 2


def parted() -> dict[str, Modality]:
    """The toys and two more with several codes per position: three with companions, and two under a rule."""
    sound = Plain("sound", 15, (1, 4), parts=(6, 5, 4), side={"near": Side("ids", width=2, size=7)})
    return {**toys(), "sound": sound, "pair": Pairs()}


def nested() -> dict[str, Modality]:
    """Text, and items whose first codes are items: one code to a position, and three with companions."""
    sound = Plain(
        "sound", 15, (1, 6), parts=(6, 5, 4), side={"near": Side("ids", width=2, size=7)}, nested=(1, 2, 4, 6)
    )
    return {"text": Letters(), "image": Plain("image", 20, (1, 8), nested=(1, 2, 4, 8)), "sound": sound}


STACKED = ("cloud", "sound", "pair")
"""The blocks of `parted` that can be stacked."""


def toys() -> dict[str, Modality]:
    """One of each kind."""
    return {
        "text": Letters(),
        "image": Plain("image", 20, (4, 4)),
        "cloud": Plain("cloud", 12, (2, 5), parts=(8, 4)),
        "molecule": Plain("molecule", 30, (1, None), side={"shell": Side("ids", width=2, size=7)}),
    }
