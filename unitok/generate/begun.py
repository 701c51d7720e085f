"""Spans that prompts leave open: a prompt that ends within one is gone on with, from its codes so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unitok.document import Rendered
from unitok.grammar import Grammar
from unitok.modality import BadCodes
from unitok.vocabulary import Vocabulary


class Begun(NamedTuple):
    """The framed block that a prompt ends within, and its flat local codes so far."""

    block: str
    codes: list[int]


def begun_span(vocabulary: Vocabulary, prompt: Rendered) -> Begun | None:
    """The span that a prompt ends within, if it ends within one.

    Raises:
        BadCodes: it ends with a code that stands in no span.
    """
    ids = prompt.serial
    last = int(ids[-1])
    for block in vocabulary.blocks.values():
        if block.framed and (last == block.begin or block.start <= last < block.start + block.size):
            begins = (ids == block.begin).nonzero()
            codes = (ids[int(begins[-1]) + 1 :] - block.start).tolist() if len(begins) else [-1]
            if any(not 0 <= code < block.size for code in codes):
                raise BadCodes(
                    f"a prompt ends with id {last}, a code of {block.name} that stands in no span: begin one first"
                )
            return Begun(block.name, codes)
    return None


def check_begun(
    vocabulary: Vocabulary,
    begun: Sequence[Begun | None],
    groups: Sequence[Sequence[Rendered]],
    first: str | None,
    grammar: Grammar,
) -> None:
    """Refuse options that speak against the spans that prompts left open.

    Args:
        vocabulary: of the prompts.
        begun: the span of each group's prompt.
        groups: each a prompt and, with guidance, its null prompt.
        first: the block that answers must begin with.
        grammar: of the answers.

    Raises:
        ValueError: a span that may not be written, or a null prompt that ends otherwise.
    """
    for span, (_, *nulls) in zip(begun, groups, strict=True):
        if span is not None and (span.block not in grammar.produce or first not in (None, span.block)):
            raise ValueError(
                f"a prompt ends within a span of {span.block!r}, which is forbidden or not what is to come first: "
                "close it, or drop the option"
            )
        if any(begun_span(vocabulary, null) != span for null in nulls):
            raise ValueError(
                f"a prompt ends within {span.block if span else 'no span'!r} and its null prompt does not, or with "
                "other codes: both are gone on with, so let them end alike"
            )


def ids_of(vocabulary: Vocabulary, begun: Begun | None) -> list[int]:
    """The shared ids, from its mark on, of a span that a prompt left open; none of no span."""
    if begun is None:
        return []
    block = vocabulary.block(begun.block)
    return [block.begin, *(block.start + code for code in begun.codes)]
