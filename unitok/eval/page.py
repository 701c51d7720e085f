"""The report as one HTML file: pictures and curves inside, nothing from the network, light and dark.

Works on plain structures and on what modalities say of themselves (`show`, `label`); it knows none by name.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unitok.eval.runner import Answered, label
from unitok.eval.task import Piece
from unitok.modality import Modality

LARGEST = 384
"""Pixels of a picture's longer side in the page."""


@dataclass(frozen=True)
class Panel:
    """Held-out inputs beside what the model wrote.

    Args:
        title, note: heading and a sentence under it.
        exchanges: documents with their answers.
        summary: figures of the task, from `runner.summary`.
        every_turn: shown as a conversation.
    """

    title: str
    note: str
    exchanges: Sequence[Answered]
    summary: Mapping[str, Any]
    every_turn: bool = False


@dataclass(frozen=True)
class Page:
    """All that the page shows; figures are finished SVG, the rest is text."""

    title: str
    headline: str
    facts: Sequence[tuple[str, str]]
    remarks: Sequence[str]
    verdicts: Sequence[str]
    figures: Sequence[tuple[str, str]]
    measures: Sequence[Mapping[str, Any]]
    details: Sequence[Mapping[str, Any]]
    panels: Sequence[Panel]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    openings: Mapping[str, Any] = field(default_factory=dict)


def render(page: Page, modalities: Mapping[str, Modality]) -> str:
    """The page as HTML. jinja2 is imported here.

    Raises:
        ModuleNotFoundError: jinja2 is missing; `pip install 'unitok-lm[train]'` brings it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = share
    template = environment.get_template("report.html.j2")
    panels = [_panel(panel, modalities) for panel in page.panels]
    return template.render(page=page, panels=panels)


def share(value: float, of: float) -> float:
    """`value` as a percentage of `of`, within 0 to 100: where it lies on a track."""
    return min(100.0, max(0.0, 100.0 * value / of)) if of > 0 else 0.0


def _panel(panel: Panel, modalities: Mapping[str, Modality]) -> dict[str, Any]:
    return {
        "title": panel.title,
        "note": panel.note,
        "every_turn": panel.every_turn,
        "exchanges": [_exchange(one, modalities) for one in panel.exchanges],
        "scores": _scores(panel.summary),
        "answers": panel.summary["turns"],
        "valid": panel.summary["valid"],
    }


def _exchange(one: Answered, modalities: Mapping[str, Modality]) -> list[dict[str, Any]]:
    turns = []
    for turn, reference, written in zip(one.document.turns, one.reference, one.written, strict=True):
        turns.append(
            {
                "role": turn.role,
                "reference": [_drawn(piece, modalities) for piece in reference],
                "written": None if written is None else [_drawn(piece, modalities) for piece in written],
            }
        )
    last = max(i for i, written in enumerate(one.written) if written is not None)
    return turns[: last + 1]


def _scores(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    chance = summary["chance"]
    return [
        {"name": name, "mean": row["mean"], "count": row["count"], "chance": chance.get(name, {}).get("mean")}
        for name, row in summary["scores"].items()
    ]


def _drawn(piece: Piece, modalities: Mapping[str, Modality]) -> dict[str, str]:
    """A piece as {"text"} or {"picture", "label"}, or {"error"}."""
    if piece.error:
        return {"error": f"not a valid {piece.name}: {piece.error}"}
    modality = modalities[piece.name]
    words = label(piece, modalities)
    if not modality.spec.framed:
        return {"text": words.strip()}
    try:
        return {"picture": data_url(modality, piece), "label": words}
    except TypeError:  # it has no picture
        return {"text": words}


def data_url(modality: Modality, piece: Piece) -> str:
    """A valid item's picture as a PNG inside a URL."""
    picture = modality.show(piece.item)
    if max(picture.size) > LARGEST:
        picture = picture.copy()
        picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.convert("RGB" if picture.mode not in ("L", "RGB", "RGBA", "P") else picture.mode).save(
        file, "PNG"
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
