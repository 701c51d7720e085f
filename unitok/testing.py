"""`conforms`: what every modality must keep, ours and a stranger's. One line in a test suite.

>>> conforms(MuLaw(), [torch.linspace(-1, 1, 101)])
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

import torch

from unitok.document import Document
from unitok.grammar import Grammar
from unitok.modality import JUMP, BadCodes, Codes, Item, Modality
from unitok.segment import Segment, same
from unitok.vocabulary import Vocabulary


class DoesNotConform(AssertionError):
    """A modality breaks a law of the contract."""


def conforms(
    modality: Modality,
    samples: Sequence[Item],
    *,
    exact: bool = False,
    invariances: Sequence[Callable[[Item], Item]] = (),
    rebuild: Callable[[], Modality] | None = None,
    decodes: bool = True,
) -> None:
    """Check a modality against the contract on real items.

    Args:
        modality: the modality.
        samples: at least one item, better three different ones.
        exact: also demand `encode(decode(codes)) == codes`.
        invariances: changes of an item that must not change its codes.
        rebuild: builds the modality again; its fingerprint must be the same.
        decodes: False for a modality that is read and never written; `decode` must then refuse.

    Raises:
        DoesNotConform: names the law that is broken and the sample.
    """
    _demand(len(samples) > 0, "conforms() needs at least one sample")
    codes = modality.encode(samples)
    _demand(len(codes) == len(samples), f"encode gave {len(codes)} codes for {len(samples)} items")
    flat, *stacked = _layouts(modality)
    for i, one in enumerate(codes):
        _shape(modality, one, i)
        for vocabulary in (flat, *stacked):
            _laws_of_layout(modality, vocabulary, one, i)
        _laws_of_grammar(modality, flat.flat(modality.spec.name, one).tolist(), i)
    _determinism(modality, samples, codes)
    _laws_of_nesting(modality, flat, codes, decodes)
    if decodes:
        _round_trip(modality, codes, exact)
    else:
        _refusal(modality, codes)
    for change in invariances:
        changed = modality.encode([change(item) for item in samples])
        for i, (a, b) in enumerate(zip(codes, changed, strict=True)):
            _demand(_equal(a, b), f"sample {i}: the codes change under the declared invariance {change}")
    copy = pickle.loads(pickle.dumps(modality))
    _demand(_equal(copy.encode(samples[:1])[0], codes[0]), "a pickled copy encodes differently")
    if rebuild is not None:
        again = rebuild().spec.fingerprint
        _demand(again == modality.spec.fingerprint, f"built again, the fingerprint is {again}")


def _shape(modality: Modality, codes: Codes, i: int) -> None:
    spec = modality.spec
    _demand(codes.ids.dtype == torch.int64, f"sample {i}: ids are {codes.ids.dtype}, not int64")
    _demand(set(codes.side) <= set(spec.side), f"sample {i}: channels {set(codes.side)} are not in the spec")
    for name, values in codes.side.items():
        shape, width = tuple(values.shape), spec.side[name].width
        _demand(shape == (len(codes), width), f"sample {i}: channel {name} has shape {shape}, width {width}")


def _layouts(modality: Modality) -> list[Vocabulary]:
    """A vocabulary in which the modality is flat and, if it has parts, one in which it is stacked."""
    name, spec = modality.spec.name, modality.spec
    layouts = [(), (name,)] if len(spec.parts) > 1 and spec.framed else [()]
    return [Vocabulary.build({name: modality}, stacked) for stacked in layouts]


def _laws_of_layout(modality: Modality, vocabulary: Vocabulary, codes: Codes, i: int) -> None:
    name = modality.spec.name
    where = f"sample {i}, {'stacked' if vocabulary.more else 'flat'}"
    document = Document.of(Segment(name, codes))
    rendered = document.render(vocabulary)
    _demand(
        same(rendered.parse(vocabulary), document.normal(vocabulary)), f"{where}: parse does not undo render"
    )
    accepted = Grammar.document(vocabulary, {name: modality}).accepts(rendered.serial)
    _demand(accepted, f"{where}: the grammar refuses the encoded item: look at legal() and shortest_end()")


def _laws_of_grammar(modality: Modality, flat: list[int], i: int) -> None:
    prefix: list[int] = []
    parts = modality.spec.parts or (modality.spec.size,)
    for new in flat[:64]:
        legal = modality.legal(prefix)
        part = len(prefix) % len(parts)
        first, stop = sum(parts[:part]), sum(parts[: part + 1])
        for r in legal.ranges:
            inside = first <= r.start and r.stop <= stop
            _demand(inside, f"sample {i}: legal({prefix}) allows {r}, part {part} has {first} to {stop - 1}")
            ends = {modality.shortest_end([*prefix, j]) for j in (r.start, r.stop - 1)}
            _demand(len(ends) == 1, f"sample {i}: shortest_end differs within the range {r} after {prefix}")
            rise = max(ends) - modality.shortest_end(prefix)
            _demand(
                rise <= JUMP,
                f"sample {i}: {r.start} after {prefix} raises shortest_end by {rise}, over {JUMP}",
            )
        _demand(any(new in r for r in legal.ranges), f"sample {i}: legal({prefix}) leaves out the code {new}")
        prefix.append(new)
    end = modality.legal(flat)
    _demand(end.end, f"sample {i}: legal() does not let the whole body end")
    _demand(modality.shortest_end(flat) == 0, f"sample {i}: shortest_end of a whole body is not 0")


def _laws_of_nesting(
    modality: Modality, vocabulary: Vocabulary, codes: Sequence[Codes], decodes: bool
) -> None:
    """Where codes are nested, items may be cut at the declared lengths, and what is left is an item."""
    nested, stride = modality.spec.nested, modality.spec.stride
    if not nested:
        return
    for i, one in enumerate(codes):
        flat = vocabulary.flat(modality.spec.name, one).tolist()
        for length in range(1, len(one) + 1):
            ends = modality.legal(flat[: length * stride]).end
            rule = f"legal() lets a body {'' if ends else 'not '}end after {length} codes, nested says {nested[:5]}…"
            _demand(ends == (length in nested), f"sample {i}: {rule}")
        fewer = {length for length in (nested[0], nested[len(nested) // 2]) if length <= len(one)}
        shorter = [modality.shorten(one, length) for length in sorted(fewer)]
        for short in shorter:
            _laws_of_layout(modality, vocabulary, short, i)
        if decodes:
            made = modality.decode([Codes(short.ids) for short in shorter])
            _demand(len(made) == len(shorter), f"sample {i}: its first codes do not decode")


def _determinism(modality: Modality, samples: Sequence[Item], codes: Sequence[Codes]) -> None:
    for i, again in enumerate(modality.encode(samples)):
        _demand(_equal(again, codes[i]), f"sample {i}: a second encode gives other codes")
    for i, item in enumerate(samples):
        alone = modality.encode([item])[0]
        _demand(_equal(alone, codes[i]), f"sample {i}: alone it has other codes than in a batch")
    backwards = modality.encode(list(reversed(samples)))
    for i, again in enumerate(reversed(backwards)):
        _demand(_equal(again, codes[i]), f"sample {i}: the order of the batch changes its codes")


def _refusal(modality: Modality, codes: Sequence[Codes]) -> None:
    try:
        modality.decode(codes)
    except BadCodes:
        return
    raise DoesNotConform(
        "decode gave items, but the modality is said to be read alone: it must raise BadCodes"
    )


def _round_trip(modality: Modality, codes: Sequence[Codes], exact: bool) -> None:
    items = modality.decode([Codes(one.ids) for one in codes])
    _demand(len(items) == len(codes), f"decode gave {len(items)} items for {len(codes)} codes")
    again = modality.encode(items)
    for i, item in enumerate(items):
        if exact:
            _demand(again[i].ids.equal(codes[i].ids), f"sample {i}: encode(decode(codes)) gives other codes")
        fidelity = modality.compare(item, modality.decode([Codes(codes[i].ids)])[0])
        finite = all(value == value for value in fidelity.values())
        _demand(finite, f"sample {i}: compare() of an item with itself gives {fidelity}")


def _equal(a: Codes, b: Codes) -> bool:
    return (
        a.ids.equal(b.ids)
        and a.side.keys() == b.side.keys()
        and all(a.side[name].equal(b.side[name]) for name in a.side)
    )


def _demand(holds: bool, law: str) -> None:
    if not holds:
        raise DoesNotConform(law)
