"""Conversations about items (LLaVA, ShareGPT), edits one after another, and albums whose pictures are drawn in turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from layouts.files import WRONG, Files, Made, Reference, rows, said, table, tidy
from unitok.data.sources import BadRecord, Record

ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant",
    "bing": "assistant", "assistant": "assistant", "model": "assistant",
}  # fmt: skip
PLACE = re.compile(r"\n?<(?:image|video)>\n?")
COLUMNS = (
    ("original_image", "edit_prompt", "edited_image"),  # InstructPix2Pix
    ("source_img", "instruction", "target_img"),  # MagicBrush
    ("input", "instruction", "output"),  # MagicBrush's own file of turns
    ("source", "instruction", "target"),
)
"""Names that edits are found by: source, instruction, target."""


def conversations(path: Path, files: Files, block: str, text: str) -> Iterator[Made]:
    """Records with "turns"; `<image>` in a turn is the next of the record's files, whoever says it."""
    for record in rows(path):
        if isinstance(record, BadRecord):
            yield record
            continue
        try:
            yield {"key": record.key, "turns": _turns(record, files, block, text)}
        except WRONG as error:
            yield BadRecord(record.where, said(error))


def _turns(record: Record, files: Files, block: str, text: str) -> list[dict[str, Any]]:
    named = record.fields.get("image", record.fields.get("images")) or []
    left = [
        files.put(one, f"{record.key}-{i}")
        for i, one in enumerate(named if isinstance(named, list) else [named])
    ]
    told = record.fields.get("conversations", record.fields.get("messages"))
    if not isinstance(told, list) or not told:
        raise ValueError('it has neither "conversations" nor "messages", a list of turns')
    count = sum(len(PLACE.findall(str(one.get("value", one.get("content"))))) for one in told)
    if left and not count:  # a picture that no turn places stands before the first question
        count = len(left)
        asked = [one for one in told if ROLES.get(one.get("from", one.get("role"))) == "user"]
        if not asked:
            raise ValueError("it names files and nobody asks: a file stands in a turn of the user")
        pieces = [(asked[0], "<image>" * count)]
    else:
        pieces = []
    if count != len(left):
        raise ValueError(f"its turns have {count} places for files and it names {len(left)}")
    turns = []
    for one in told:
        role = ROLES.get(str(one.get("from", one.get("role"))))
        if role is None:
            raise ValueError(
                f"{one.get('from', one.get('role'))!r} is no speaker: known are {', '.join(ROLES)}"
            )
        words = one.get("value", one.get("content"))
        if not isinstance(words, str):
            raise ValueError(f"a turn says {words!r:.80}: text is wanted")
        words = "".join(more for other, more in pieces if other is one) + words
        content: list[dict[str, Any]] = []
        for i, piece in enumerate(PLACE.split(words)):
            content += [{block: left.pop(0)}] if i else []
            content += [{text: piece}] if piece else []
        if not content:
            raise ValueError(f"a turn of the {role} is empty")
        turns.append({"role": role, "content": content})
    while turns and turns[-1]["role"] != "assistant":
        del turns[-1]  # a question that nobody answered teaches nothing
    if not turns:
        raise ValueError("nobody answers: a conversation has a turn of the assistant")
    return turns


def edits(
    path: Path, files: Files, columns: Sequence[str], session: str, place: str, block: str, text: str
) -> Iterator[Made]:
    """Records {key, source, instruction, target}; with `session`, the edits of one picture as a chat, in order.

    Args:
        path: jsonl, json or parquet.
        files: the pictures' folder; tables may hold the pictures themselves.
        columns: names of source, instruction and target; empty: one of `COLUMNS`.
        session: column that names the session, "" for single edits; neighbouring rows make a session.
        place: column by which the rows of a session are put in order.
        block, text: the blocks of pictures and instructions in chats.
    """
    good: list[tuple[Record, Reference, str, Reference] | tuple[Record, None, str, None]] = []
    for record in rows(path):
        if isinstance(record, BadRecord):
            yield record
            continue
        try:
            source, words, target = columns or _columns(record)
            name = record.key
            first, last = (files.put(record.fields[c], f"{name}-{c}") for c in (source, target))
            one = (record, first, tidy(record.fields[words]), last)
        except WRONG as error:
            yield BadRecord(record.where, said(error))
            if session:
                good.append((record, None, "", None))
            continue
        if session:
            good.append(one)
        else:
            yield {"key": record.key, "source": one[1], "instruction": one[2], "target": one[3]}
    for key, group in groupby(good, key=lambda one: str(one[0].fields.get(session, one[0].key))):
        turns: list[dict[str, Any]] = []
        for _, first, words, last in sorted(group, key=lambda one: _order(one[0].fields.get(place))):
            if first is None or last is None:
                break  # the edits after one that is left out start from what was never drawn
            start = [] if turns else [{block: first}]  # later edits start from what was drawn before
            turns.append({"role": "user", "content": [*start, {text: words}]})
            turns.append({"role": "assistant", "content": [{block: last}]})
        if turns:
            yield {"key": key, "turns": turns}


def _order(place: Any) -> float:
    """A place within a session as a number; what is none stands first."""
    try:
        return float(place)
    except (TypeError, ValueError):
        return 0.0


def _columns(record: Record) -> tuple[str, str, str]:
    for names in COLUMNS:
        if set(names) <= record.fields.keys():
            return names
    known = "; ".join(", ".join(names) for names in COLUMNS)
    raise ValueError(
        f"it has the columns {', '.join(record.fields)}: none of {known}; name them with --columns"
    )


def albums(path: Path, files: Files, as_chat: bool, ask: str, block: str, text: str) -> Iterator[Made]:
    """Stories of albums (VIST, stories in sequence): pages of picture and sentence, or chats that draw each picture.

    Raises:
        ValueError: the file has no "annotations".
    """
    found = table(path)
    if not isinstance(found, dict) or not isinstance(found.get("annotations"), list):
        raise ValueError(f'{path} is no file of stories: it has an object with "annotations"')
    stories: dict[str, list[dict[str, Any]]] = {}
    for number, entry in enumerate(found["annotations"]):
        one = entry[0] if isinstance(entry, list) and len(entry) == 1 else entry
        if (
            isinstance(one, dict)
            and {"story_id", "photo_flickr_id", "worker_arranged_photo_order"} <= one.keys()
        ):
            stories.setdefault(str(one["story_id"]), []).append(one)
        else:
            yield BadRecord(
                f"{path.name} annotations[{number}]", "it is no sentence of a story with its photo"
            )
    for key, sentences in stories.items():
        try:
            ordered = sorted(sentences, key=lambda one: int(one["worker_arranged_photo_order"]))
            told = [
                (files.called(str(one["photo_flickr_id"])), tidy(one.get("original_text") or one.get("text")))
                for one in ordered
            ]
        except WRONG as error:
            yield BadRecord(f"{path.name} story {key}", said(error))
            continue
        if as_chat:
            turns: list[dict[str, Any]] = []
            for picture, words in told:
                turns.append({"role": "user", "content": [{text: words if turns else f"{ask}{words}"}]})
                turns.append({"role": "assistant", "content": [{block: picture}]})
            yield {"key": f"story/{key}", "turns": turns}
        else:
            parts = [part for picture, words in told for part in ({block: picture}, {text: f" {words}\n"})]
            yield {"key": f"story/{key}", "document": parts}
