"""Well-formed UTF-8 as a grammar over bytes: what may follow, and how much is missing.

Table 3-7 of the Unicode Standard (15.0), the same as RFC 3629: no overlong forms, no surrogates, nothing
above U+10FFFF. Every finite string of bytes that follows it decodes strictly.
"""

from __future__ import annotations

from collections.abc import Sequence

LEADS = (range(0x00, 0x80), range(0xC2, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF5))
"""Bytes that open a character of one (ASCII), two, three and four bytes."""

_TAIL = range(0x80, 0xC0)
_SECOND = {0xE0: range(0xA0, 0xC0), 0xED: range(0x80, 0xA0), 0xF0: range(0x90, 0xC0), 0xF4: range(0x80, 0x90)}


def width(lead: int) -> int:
    """Bytes in the character that `lead` opens: 1 to 4."""
    return 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def follow(prefix: Sequence[int]) -> tuple[tuple[range, ...], int]:
    """What may follow well-formed bytes `prefix`, the last character possibly cut.

    Returns:
        (ranges of the next byte, bytes missing from the last character; 0 at a character's end).
    """
    seen = 0  # bytes of the last character so far; only the last three can belong to a cut one
    while seen < min(3, len(prefix)) and prefix[-1 - seen] in _TAIL:
        seen += 1
    if seen == len(prefix):
        return LEADS, 0
    lead = prefix[-1 - seen]
    missing = width(lead) - 1 - seen
    if missing <= 0:
        return LEADS, 0
    return (_SECOND.get(lead, _TAIL) if seen == 0 else _TAIL,), missing


def surrogate(text: str) -> int | None:
    """Position of the first lone surrogate in `text` (it has no UTF-8 form), or None."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None
