"""Start-token recall: does the model open a picture, molecule or cloud when one is asked for, and none when not?

A model may score well on what follows `<image>` and yet never write `<image>` by itself. So every held-out answer
is written freely: the likeliest id each time, no block named first, none left out. Per block:

    recall     of the answers whose reference holds a span of the block, the share that hold one, too
    first      of the references that begin with the block, the share of answers that begin with it
    unasked    of the answers whose reference holds none, the share that hold one
    after      of the references with text after such a span, the share of answers with text after one

Beside them two controls that must come out whole, or the figures above mean nothing: answers made to begin with the
block (`forced`; of which so many items are valid) and answers that may not hold it (`forbidden`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unitok.data.shuffle import keyed
from unitok.data.store import Store
from unitok.document import Document, Segment
from unitok.eval.task import conversation, pieces
from unitok.generate import Sampler
from unitok.vocabulary import Vocabulary

CONTROLS = 8
"""Questions that each control is tried on."""
SEEN = 4096
"""Documents of a store that are looked at for questions of every kind."""
SPARE = 32
"""Positions of text that an answer may have beyond its reference, before it opens a span."""


def turns(document: Document) -> list[Document]:
    """A chat cut after each assistant turn: what comes before is the question, the last turn the reference."""
    ends = [at for at, turn in enumerate(document.turns) if turn.role == "assistant" and turn.segments]
    return [Document(document.turns[: at + 1], document.key) for at in ends]


def questions(
    stores: Mapping[str, Store], vocabulary: Vocabulary, each: int, seed: int = 0
) -> list[Document]:
    """Held-out questions: `each` of every kind of answer, in an order that the seed draws.

    A kind is which framed blocks an answer holds, whether one of them comes first, and whether text comes after it.

    Args:
        stores: held-out sources by name.
        vocabulary: of the stores.
        each: questions of each kind at most, over all sources alike.
        seed: another seed, other questions.
    """
    found: dict[tuple[tuple[str, ...], bool, bool], dict[str, list[Document]]] = {}
    for name, store in stores.items():
        order = np.argsort(keyed(seed, np.arange(len(store))), kind="stable")
        for doc in order[:SEEN].tolist():
            rendered = store.document(doc)
            if not (rendered.ids == vocabulary.mark("assistant")).any():
                continue
            for one in turns(conversation(rendered.parse(vocabulary), vocabulary, store.key(doc))):
                kind = _kind(one.turns[-1].segments, vocabulary)
                found.setdefault(kind, {}).setdefault(name, []).append(one)
    out = []
    for kind in sorted(found):
        sources = list(found[kind].values())
        turn = 0
        chosen: list[Document] = []
        while len(chosen) < each and any(turn < len(source) for source in sources):
            chosen += [source[turn] for source in sources if turn < len(source)]
            turn += 1
        out += chosen[:each]
    return out


def _kind(answer: Sequence[Segment], vocabulary: Vocabulary) -> tuple[tuple[str, ...], bool, bool]:
    held = tuple(sorted(set(spans(answer, vocabulary))))
    return (
        held,
        _first(answer, vocabulary) in held,
        any(_text_after(answer, name, vocabulary) for name in held),
    )


def spans(segments: Sequence[Segment], vocabulary: Vocabulary) -> list[str]:
    """The framed blocks of a turn, in order."""
    return [s.name for s in segments if vocabulary.block(s.name).framed]


def openings(sampler: Sampler, asked: Sequence[Document], controls: int = CONTROLS) -> dict[str, Any]:
    """What is opened in answers to `asked`, chats that end with their reference answers; as plain data.

    Args:
        sampler: writes the answers, greedily.
        asked: from `questions` or `turns`.
        controls: questions that the two controls of each block are tried on; 0 = no controls.

    Returns:
        {"answers", "blocks": {block: {"recall", "first", "unasked", "after", "forced", "forbidden"}}, "instead"}: a
        rate is {"count", "of"}; "instead" counts, for each first block of a reference, the first of the answers.
    """
    vocabulary = sampler.vocabulary
    names = [name for name, block in vocabulary.blocks.items() if block.framed]
    if not asked or not names:
        return {"answers": 0, "blocks": {}, "instead": {}}
    wanted = [document.turns[-1].segments for document in asked]
    given = _written(sampler, asked)
    tried = (
        asked[:: -(-len(asked) // controls)] if controls else []
    )  # of every kind: like questions stand together
    blocks: dict[str, Any] = {}
    for name in names:
        holds = [name in spans(answer, vocabulary) for answer in given]
        asks = [name in spans(answer, vocabulary) for answer in wanted]
        leads = [_first(answer, vocabulary) == name for answer in wanted]
        after = [_text_after(answer, name, vocabulary) for answer in wanted]
        blocks[name] = {
            "recall": _rate(holds, asks),
            "first": _rate([_first(answer, vocabulary) == name for answer in given], leads),
            "unasked": _rate(holds, [not one for one in asks]),
            "after": _rate([_text_after(answer, name, vocabulary) for answer in given], after),
            **(_controls(sampler, tried, name) if controls else {}),
        }
    pairs = Counter(
        (_first(a, vocabulary), _first(b, vocabulary)) for a, b in zip(wanted, given, strict=True)
    )
    instead: dict[str, dict[str, int]] = {}
    for (reference, answer), count in sorted(pairs.items()):
        instead.setdefault(reference, {})[answer] = count
    return {"answers": len(given), "blocks": blocks, "instead": instead}


def _written(sampler: Sampler, asked: Sequence[Document], **options: Any) -> list[list[Segment]]:
    """Greedy answers; each may be so much longer than its reference that any block could still open and close."""
    vocabulary = sampler.vocabulary
    most = max(block.length[0] * block.stride + 2 for block in vocabulary.blocks.values())
    budgets = [
        sum(len(vocabulary.frame(s.name, s.codes)) for s in document.turns[-1].segments) + most + SPARE
        for document in asked
    ]
    answers = sampler.generate(list(asked), budget=budgets, temperature=0.0, **options)
    return [[part for part in answer if isinstance(part, Segment)] for answer in answers]


def _controls(sampler: Sampler, asked: Sequence[Document], name: str) -> dict[str, Any]:
    vocabulary = sampler.vocabulary
    forced = _written(sampler, asked, first=name)
    items = [
        pieces(answer[:1], sampler.modalities)[0] for answer in forced if answer and answer[0].name == name
    ]
    without = _written(sampler, asked, forbid=(name,))
    return {
        "forced": {
            "count": sum(_first(answer, vocabulary) == name for answer in forced),
            "of": len(forced),
            "valid": sum(not piece.error for piece in items),
        },
        "forbidden": {"count": sum(name not in spans(a, vocabulary) for a in without), "of": len(without)},
    }


def _first(answer: Sequence[Segment], vocabulary: Vocabulary) -> str:
    """The block that an answer begins with; "nothing" for an empty one."""
    return next((s.name for s in answer if len(s.codes) or vocabulary.block(s.name).framed), "nothing")


def _text_after(answer: Sequence[Segment], name: str, vocabulary: Vocabulary) -> bool:
    places = [at for at, s in enumerate(answer) if s.name == name]
    return bool(places) and any(s.name == vocabulary.text and len(s.codes) for s in answer[places[0] + 1 :])


def _rate(hits: Sequence[bool], where: Sequence[bool]) -> dict[str, int]:
    return {"count": sum(hit for hit, at in zip(hits, where, strict=True) if at), "of": sum(where)}
