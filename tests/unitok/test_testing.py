from __future__ import annotations

import pytest
import torch
from toys import Letters, Pairs, Plain, nested, toys

from unitok import Codes, Legal, Side, Vocabulary
from unitok.testing import DoesNotConform, conforms

SAMPLES = {
    "pair": [[[0, 1]], [[3, 4], [5, 0], [0, 1]]],
    "text": [[1, 2], [99, 98], [5]],
    "image": [[0, 1, 2, 3], [19, 0, 0, 1]],
    "cloud": [[[7, 3], [0, 0]], [[1, 2], [3, 3], [4, 0]]],
    "molecule": [[1], [2, 3]],
}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_toys_conform(name):
    def build():
        return Pairs() if name == "pair" else toys()[name]

    conforms(build(), SAMPLES[name], exact=True, rebuild=build)


def test_a_modality_with_parts_is_checked_in_both_layouts(monkeypatch):
    seen = []
    build = Vocabulary.build.__func__
    note = classmethod(lambda cls, given, stacked=(): seen.append(stacked) or build(cls, given, stacked))
    monkeypatch.setattr(Vocabulary, "build", note)
    conforms(toys()["cloud"], SAMPLES["cloud"])
    conforms(toys()["image"], SAMPLES["image"])
    assert seen == [(), ("cloud",), ()]


@pytest.mark.parametrize(("name", "sample"), [("image", [1] * 8), ("sound", [[1, 1, 1]] * 6)])
def test_nested_codes_are_cut_at_their_lengths(name, sample):
    modality = nested()[name]
    conforms(modality, [sample, sample[:4]], exact=True)
    honest = modality.legal
    modality.legal = lambda prefix: honest(prefix)._replace(end=len(prefix) % modality.spec.stride == 0)
    with pytest.raises(DoesNotConform, match="end after 3 codes"):
        conforms(modality, [sample])


class OutOfRange(Plain):
    def encode(self, items):
        return [Codes(torch.tensor([self.spec.size])) for _ in items]


class Floats(Plain):
    def encode(self, items):
        return [Codes(torch.ones(1)) for _ in items]


class Moody(Plain):
    calls = 0

    def encode(self, items):
        self.calls += 1
        return [Codes(torch.tensor([self.calls])) for _ in items]


class LeansOnItsBatch(Plain):
    def encode(self, items):
        return [Codes(torch.tensor([len(items)])) for _ in items]


class NeverEnds(Plain):
    def legal(self, prefix):
        return Legal((range(self.spec.size),), end=False)


class TooNarrow(Plain):
    def legal(self, prefix):
        return Legal((range(1),), end=bool(prefix))


class Uneven(Plain):
    def shortest_end(self, prefix):
        return int(bool(prefix) and prefix[-1] == 0 and len(prefix) == 1)


class Leaps(Plain):
    def legal(self, prefix):
        return Legal((range(1), range(1, self.spec.size)), end=self.shortest_end(prefix) == 0)

    def shortest_end(self, prefix):
        if not prefix:
            return 1
        return max(0, 101 - len(prefix)) if prefix[0] == 0 else 0


class Lossy(Plain):
    def decode(self, codes):
        return [[0] for _ in codes]


class Mixed(Plain):
    """Lets a part come from the range of another."""

    def __init__(self, name, size, length):
        super().__init__(name, size, length, parts=(size - 1, 1))

    def encode(self, items):
        return [Codes(torch.zeros(2, 2, dtype=torch.int64)) for _ in items]

    def legal(self, prefix):
        return Legal((range(self.spec.size),), end=len(prefix) % 2 == 0)


class Unsaid(Plain):
    def encode(self, items):
        return [Codes(torch.tensor([1]), {"secret": torch.ones(1, 1)}) for _ in items]


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (OutOfRange, "out of range"),
        (Floats, "not int64"),
        (Moody, "a second encode gives other codes"),
        (LeansOnItsBatch, "alone it has other codes than in a batch"),
        (NeverEnds, "has no way on|refuses the encoded item"),
        (TooNarrow, "refuses the encoded item"),
        (Uneven, "shortest_end differs within the range"),
        (Leaps, "raises shortest_end by 99, over 16"),
        (Lossy, "encode\\(decode\\(codes\\)\\) gives other codes"),
        (Unsaid, "are not in the spec"),
        (Mixed, "allows range\\(0, 8\\), part 0 has 0 to 6"),
    ],
)
def test_each_broken_law_is_named(broken, law):
    with pytest.raises((DoesNotConform, ValueError), match=law):
        conforms(broken("image", 8, (1, 4)), [[1], [2, 5]], exact=True)


def test_a_declared_invariance_is_checked():
    conforms(Plain("image", 8, (1, 4)), [[1, 1]], invariances=[lambda item: list(reversed(item))])
    with pytest.raises(DoesNotConform, match="declared invariance"):
        conforms(Plain("image", 8, (1, 4)), [[1, 2]], invariances=[lambda item: list(reversed(item))])


def test_a_fingerprint_that_changes_is_found():
    with pytest.raises(DoesNotConform, match="built again, the fingerprint is b"):
        conforms(Letters("a"), [[1]], rebuild=lambda: Letters("b"))


def test_a_companion_of_a_wrong_width_is_found():
    class Wide(Plain):
        def encode(self, items):
            return [Codes(torch.tensor([1]), {"shell": torch.ones(1, 3, dtype=torch.int64)}) for _ in items]

    with pytest.raises(DoesNotConform, match="channel shell has shape"):
        conforms(Wide("image", 8, (1, 4), side={"shell": Side("ids", width=2, size=4)}), [[1]])
