"""What tokenizing one source came to: counts, and the records that were left out and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unitok.data.sources.record import BadRecord

SHOWN = 10  # messages per source; all are in bad.jsonl of the store
NAME = "bad.jsonl"


class BadSource(ValueError):
    """A record is bad and `strict` is on, or a source gives no document at all."""


@dataclass
class Tally:
    """Counts of one source and split.

    Args:
        source: its name.
        records: read.
        documents: written; tokens: theirs.
        bad: records with something that could not be used.
        too_long: documents refused because they do not fit and must not be cut.
        shortened: chats that lost their last turns to fit.
    """

    source: str
    records: int = 0
    documents: int = 0
    tokens: int = 0
    bad: int = 0
    too_long: int = 0
    shortened: int = 0
    messages: list[BadRecord] = field(default_factory=list, repr=False)

    def add_bad(self, where: str, reason: str, strict: bool) -> str | None:
        """Count a bad record; the message to print, if it is among the first.

        Raises:
            BadSource: `strict` is on.
        """
        if strict:
            raise BadSource(f"source {self.source!r}, {where}: {reason}")
        self.bad += 1
        self.messages.append(BadRecord(where, reason))
        if self.bad <= SHOWN:
            return f"{self.source}: {where}: {reason}"
        return (
            f"{self.source}: more bad records follow, see {NAME} of the store"
            if self.bad == SHOWN + 1
            else None
        )

    def counts(self) -> dict[str, Any]:
        """As plain data, the messages apart."""
        facts = asdict(self)
        del facts["messages"]
        return facts

    def save(self, folder: Path) -> None:
        """Write all messages as JSON lines."""
        lines = [json.dumps(message._asdict(), ensure_ascii=False) + "\n" for message in self.messages]
        # What has no UTF-8 form (a lone surrogate in a file's name) is written as JSON would escape it.
        (folder / NAME).write_text("".join(lines), encoding="utf-8", errors="backslashreplace")

    def __str__(self) -> str:
        text = (
            f"{self.source}: {self.records:,} records, {self.documents:,} documents, {self.tokens:,} tokens"
        )
        for count, what in (
            (self.bad, "bad records left out"),
            (self.too_long, "documents too long and left out"),
            (self.shortened, "chats shortened"),
        ):
            text += f", {count:,} {what}" if count else ""
        return text
