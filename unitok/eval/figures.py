"""Loss curves as SVG that takes its ink from the page, so that one file reads in light and in dark.

matplotlib is imported when a figure is drawn. Text stays text in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

INK, ACCENT, DOT = "#010203", "#010204", "#010205"
"""Colours that nothing else uses: replaced by those of the page."""
SMOOTH = 0.04
"""Time constant of the smoothed curve, as a share of the run."""


class Curve(NamedTuple):
    """Values over steps, equally long."""

    steps: Sequence[float]
    values: Sequence[float]


def smoothed(curve: Curve) -> Curve:
    """The exponential moving average over about `SMOOTH` of the run, without bias towards the start."""
    span = max(1.0, SMOOTH * len(curve.values))
    keep = np.exp(-1.0 / span)
    total = mass = 0.0
    out = []
    for value in curve.values:
        total, mass = keep * total + value, keep * mass + 1.0
        out.append(total / mass)
    return Curve(curve.steps, out)


def loss_figure(
    name: str, train: Curve, held: Curve, lines: Mapping[str, float], size: tuple[float, float] = (3.6, 2.3)
) -> str:
    """One kind's loss over steps.

    Args:
        name: makes the ids inside the SVG unique on a page.
        train: loss of every step, drawn pale with its running mean on top.
        held: held-out loss, drawn as dots.
        lines: horizontal lines with their names.
        size: inches.

    Returns:
        An `<svg>` element.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 8.5, "font.family": "sans-serif"}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        if len(train.values):
            axes.plot(*train, color=ACCENT, alpha=0.25, linewidth=0.7)
            axes.plot(*smoothed(train), color=ACCENT, linewidth=1.6)
        axes.plot(*held, "o", color=DOT, markersize=4.5, zorder=4)
        for (label, value), dashes in zip(lines.items(), ((5, 2), (1.5, 1.5)), strict=False):
            axes.axhline(value, color=INK, linewidth=0.9, dashes=dashes, alpha=0.75)
            where = "bottom" if value == max(lines.values()) else "top"  # the two may nearly coincide
            place = (0.99, value)
            axes.annotate(label, place, xycoords=("axes fraction", "data"), ha="right", va=where, color=INK)
        axes.set_xlabel("step", color=INK)
        axes.set_ylabel("nats per code", color=INK)
        low, high = _limits(train, held, lines)
        axes.set_ylim(low, high)
        axes.tick_params(color=INK, labelcolor=INK, length=2.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), name)


def _limits(train: Curve, held: Curve, lines: Mapping[str, float]) -> tuple[float, float]:
    """A range that shows where the run ends and the lines; the first steps may leave it at the top."""
    late = list(train.values)[len(train.values) // 20 :]
    values = np.array([*late, *held.values, *lines.values()], dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(np.quantile(values, 0.99))
    high = max(high, *lines.values()) if lines else high
    room = max(0.05, 0.08 * (high - low))
    return max(0.0, low - room), high + room


def _inline(svg: str, name: str) -> str:
    """The bare element: no prolog, no metadata, ink and font of the page, ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style).*?</\1>", "", svg, flags=re.DOTALL)  # a style would reach the whole page
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    prefix = re.sub(r"\W", "_", name)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", svg)
    for colour, variable in ((INK, "currentColor"), (ACCENT, "var(--accent)"), (DOT, "var(--dot)")):
        svg = svg.replace(colour, variable)
    return re.sub(r"\s*\n\s*", "\n", svg)
