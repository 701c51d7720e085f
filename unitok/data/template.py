"""Templates: how a record becomes documents. `{field}` stands for a field, `{{` and `}}` for braces.

`{field:all}` stands for all values of a field that is a list, in order (`{field}` draws one of them), and
`{field:given}` for one that a plain template shows without loss; `{field:all:given}` is both. A `Form` is a compiled template. `drafts` applies all forms of a source to a record and gives documents whose
parts are still raw values; a record with a field "document" or "turns" brings its own form. Neighbouring text
is joined before it is encoded, so that a prompt reads as a user would type it.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from unitok.data.config import SourceConfig
from unitok.data.sources.record import Blob, Record
from unitok.document import ROLES
from unitok.vocabulary import Vocabulary

PLACE = re.compile(r"(\{\{|\}\}|\{[^{}]*\})")
OWN = ("document", "turns")
OWN_FORM = "own"  # name of the form that a record with one of these brings
GIVEN = "given"
WAYS = ("all", GIVEN)  # what may follow a field's name after a colon


class TemplateError(ValueError):
    """A template that no record can fill, found before any record is read."""


class MissingField(ValueError):
    """A record lacks a field that a form names."""


class Slot(NamedTuple):
    """A place in a form: a field's value, or literal text (then `field` is None).

    `every`: all values of a list, in order; `given`: shown without loss.
    """

    block: str
    field: str | None
    text: str = ""
    every: bool = False
    given: bool = False


class Form(NamedTuple):
    """A template: its name ("chat.0", "plain.1") and, per turn, the role (None: plain) and slots."""

    name: str
    turns: tuple[tuple[str | None, tuple[Slot, ...]], ...]

    @property
    def fields(self) -> set[str]:
        """The fields that the form names."""
        return {slot.field for _, slots in self.turns for slot in slots if slot.field is not None}


class Part(NamedTuple):
    """A value still to be encoded: `variant` chooses among the item's encodings, `given` means no loss."""

    block: str
    value: str | Blob | Mapping[str, Any]
    variant: int = 0
    given: bool = False


class Draft(NamedTuple):
    """A document whose parts are still values."""

    form: str
    turns: tuple[tuple[str | None, tuple[Part, ...]], ...]

    @property
    def parts(self) -> list[Part]:
        """All parts, in order."""
        return [part for _, parts in self.turns for part in parts]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, known)) or 'none'}"


def compile_forms(name: str, source: SourceConfig, vocabulary: Vocabulary) -> list[Form]:
    """The forms of a source.

    Raises:
        TemplateError: an unknown field, block or role (the nearest is named), or braces that do not match.
    """
    for field, block in source.fields.items():
        if block not in vocabulary.blocks:
            raise TemplateError(
                f"source {name!r}: field {field!r} goes to block {block!r}, which the vocabulary does not have: "
                f"{nearest(block, vocabulary.blocks)}"
            )
    forms = []
    for number, turns in enumerate(source.chat):
        compiled = []
        for table in [turns] if isinstance(turns, dict) else turns:
            for role, text in table.items():
                if role not in ROLES:
                    raise TemplateError(f"source {name!r}: unknown role {role!r}: {nearest(role, ROLES)}")
                compiled.append((role, _slots(name, text, source.fields, vocabulary)))
        if not _answers(compiled):
            raise TemplateError(
                f"source {name!r}: chat template {number} has no assistant turn, or only given ones, so no loss"
            )
        forms.append(Form(f"chat.{number}", tuple(compiled)))
    for number, text in enumerate(source.plain):
        if not text:
            raise TemplateError(f"source {name!r}: plain template {number} is empty: name a field")
        forms.append(
            Form(
                f"plain.{number}", ((None, _supervised(name, _slots(name, text, source.fields, vocabulary))),)
            )
        )
    if source.shares and (len(source.shares) != len(forms) or not any(source.shares)):
        raise TemplateError(
            f"source {name!r}: {len(source.shares)} shares for {len(forms)} templates: give one each, one above 0"
        )
    return forms


def _answers(turns: Iterable[tuple[str | None, tuple[Slot, ...]]]) -> bool:
    """Whether a chat has an assistant turn that is not given as a whole."""
    return any(
        role == "assistant" and not (slots and all(slot.given for slot in slots)) for role, slots in turns
    )


def _supervised(name: str, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """Slots of a plain template; where a field is given, the literal text is, too: the loss is on the other fields."""
    if not any(slot.given for slot in slots):
        return slots
    if all(slot.given for slot in slots if slot.field is not None):
        raise TemplateError(
            f"source {name!r}: a plain template gives all of its fields, so no loss: leave one"
        )
    return tuple(slot if slot.field is not None else slot._replace(given=True) for slot in slots)


def _slots(name: str, template: str, fields: Mapping[str, str], vocabulary: Vocabulary) -> tuple[Slot, ...]:
    slots = []
    for piece in PLACE.split(template):
        if piece in ("{{", "}}"):
            slots.append(_literal(name, piece[0], vocabulary))
        elif piece.startswith("{") and piece.endswith("}"):
            field, ways = _ways(piece[1:-1], fields)
            if field not in fields:
                raise TemplateError(
                    f"source {name!r}: template {template!r} names the field {field!r}, which `fields` does not "
                    f"give a block: {nearest(field, fields)}"
                )
            if unknown := [way for way in ways if way not in WAYS]:
                raise TemplateError(
                    f"source {name!r}: template {template!r} says {field}:{unknown[0]}: {nearest(unknown[0], WAYS)}"
                )
            slots.append(Slot(fields[field], field, "", "all" in ways, GIVEN in ways))
        elif "{" in piece or "}" in piece:
            raise TemplateError(
                f"source {name!r}: template {template!r} has a lone brace: write {{{{ or }}}} for it"
            )
        elif piece:
            slots.append(_literal(name, piece, vocabulary))
    return tuple(slots)


def _ways(place: str, fields: Mapping[str, str]) -> tuple[str, list[str]]:
    """The field of a place, and what is said of it after colons; a field whose name has colons is taken first."""
    if place in fields:
        return place, []
    field, *ways = place.split(":")
    return (field, ways) if field in fields else (place, [])


def _literal(name: str, text: str, vocabulary: Vocabulary) -> Slot:
    if vocabulary.text is None:
        raise TemplateError(
            f"source {name!r}: the template has text {text!r}, but the vocabulary has no text block"
        )
    return Slot(vocabulary.text, None, text)


# -------------------------------------------------------------------- records


def own_form(record: Record, vocabulary: Vocabulary) -> tuple[Form, Record]:
    """The form that a record with "document" or "turns" describes, and the record with its values as fields.

    Raises:
        ValueError: the description is malformed.
    """
    turns: list[tuple[str | None, tuple[Slot, ...]]] = []
    values: dict[str, Any] = {}

    def slots(content: Any) -> tuple[Slot, ...]:
        out = []
        for part in [{vocabulary.text: content}] if isinstance(content, str) else content:
            named = (
                {key: value for key, value in part.items() if key != GIVEN} if isinstance(part, dict) else {}
            )
            if len(named) != 1 or not isinstance(part.get(GIVEN, False), bool):
                raise ValueError(
                    f'a part must be an object with one block name, as {{"text": ...}}, and "given": true where it '
                    f"carries no loss, not {part!r}"
                )
            ((block, value),) = named.items()
            if block not in vocabulary.blocks:
                raise ValueError(f"unknown block {block!r}: {nearest(str(block), vocabulary.blocks)}")
            field = f"{len(values)}"
            values[field] = value
            out.append(Slot(block, field, given=bool(part.get(GIVEN))))
        return tuple(out)

    if "turns" in record.fields:
        for turn in _listed("turns", record.fields["turns"]):
            if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
                raise ValueError(f'a turn must be {{"role": ..., "content": [...]}}, not {turn!r}')
            if turn["role"] not in ROLES:
                raise ValueError(f"unknown role {turn['role']!r}: {nearest(str(turn['role']), ROLES)}")
            content = turn["content"]
            turns.append(
                (turn["role"], slots(content if isinstance(content, str) else _listed("content", content)))
            )
    else:
        turns.append((None, slots(_listed("document", record.fields["document"]))))
    if not values:
        raise ValueError("the document has no parts: give it at least one")
    if turns[0][0] is None and all(slot.given for slot in turns[0][1]):
        raise ValueError("all parts of the document are given, so no loss: leave one")
    if turns[0][0] is not None and not _answers(turns):
        raise ValueError("the chat has no assistant turn, or only given ones, so no loss: add the answer")
    return Form(OWN_FORM, tuple(turns)), record._replace(fields=values)


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name!r} must be a list, not {value!r}")
    return value


def drafts(
    form: Form, record: Record, text: str | None, limit: int, count: Callable[[str, Any], int]
) -> list[Draft]:
    """The documents that a form makes of a record: one per variant.

    Args:
        form: the template.
        record: gives the values.
        text: name of the text block, whose neighbouring parts are joined.
        limit: at most so many documents.
        count: how many encodings the value of a block has; lists count by their length.

    Raises:
        MissingField: the record lacks a field that the form names.
    """
    for field in sorted(form.fields):
        if record.fields.get(field) in (None, [], ""):
            what = f"part {field} of the record" if form.name == OWN_FORM else f"the field {field!r}"
            if field in record.fields:
                raise MissingField(f"{what} is empty: give it a value, or leave it out")
            raise MissingField(f"the record has no field {field!r}: {nearest(field, record.fields)}")
    blocks = {
        (slot.field, slot.block, slot.every)
        for _, slots in form.turns
        for slot in slots
        if slot.field is not None
    }
    sizes = [_choices(record.fields[field], block, every, count) for field, block, every in blocks]
    out = []
    for variant in range(min(limit, max(sizes, default=1))):
        turns = []
        for role, slots in form.turns:
            parts = [part for slot in slots for part in _parts(slot, form, record, variant)]
            turns.append((role, tuple(joined(parts, text))))
        out.append(Draft(form.name, tuple(turns)))
    return out


def _choices(value: Any, block: str, every: bool, count: Callable[[str, Any], int]) -> int:
    if isinstance(value, list):
        return max(1 if every else len(value), *(count(block, one) for one in value))
    return count(block, value)


def _parts(slot: Slot, form: Form, record: Record, variant: int) -> list[Part]:
    if slot.field is None:
        return [Part(slot.block, slot.text, given=slot.given)]
    value = record.fields[slot.field]
    if isinstance(value, list) and slot.every:
        return [Part(slot.block, words(one), variant, slot.given) for one in value]
    if isinstance(value, list):
        # Variants go round the list from a place that the key draws, so that none repeats before all had a turn.
        seed = f"{record.key}\0{form.name}\0{slot.field}".encode()
        first = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big")
        value = value[(first + variant) % len(value)]
    return [Part(slot.block, words(value), variant, slot.given)]


def words(value: Any) -> Any:
    """A finite number as text; any other value as it is."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if number and math.isfinite(value) else value


def joined(parts: Sequence[Part], text: str | None) -> list[Part]:
    """Neighbouring strings of the text block as one."""
    out: list[Part] = []
    for part in parts:
        if (
            out
            and part.block == out[-1].block == text
            and part.given == out[-1].given
            and isinstance(part.value, str)
            and isinstance(out[-1].value, str)
        ):
            out[-1] = Part(part.block, out[-1].value + part.value, given=part.given)
        else:
            out.append(part)
    return out
