"""Pictures of results: grids of originals and reconstructions, labelled contact sheets, rate-distortion curves."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from .io import to_rgb

GAP = 8
PAPER, INK = "white", (40, 40, 40)
TEXT = 13  # pixels


def grid(
    rows: Sequence[Sequence[Image.Image]],
    labels: Sequence[str] = (),
    titles: Sequence[str] = (),
    cell: int | None = None,
) -> Image.Image:
    """Rows of pictures on white, each picture fitted into a square cell.

    Args:
        rows: the pictures; rows may differ in length.
        labels: what stands left of each row.
        titles: what stands above each column.
        cell: side of a cell in pixels; the longest side of any picture if None.

    Raises:
        ValueError: no picture.
    """
    pictures = [picture for row in rows for picture in row]
    if not pictures:
        raise ValueError("a grid of no pictures: give at least one row with one")
    cell = cell or max(max(picture.size) for picture in pictures)
    font = _font()
    left = max((round(font.getlength(label)) for label in labels), default=0)
    left += GAP * (2 if left else 1)
    top = GAP + (TEXT + GAP if titles else 0)
    columns = max(len(row) for row in rows)
    size = (left + columns * (cell + GAP), top + len(rows) * (cell + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles[:columns]):
        middle = left + column * (cell + GAP) + cell // 2
        draw.text((middle, GAP), _short(title, cell, font), INK, font, anchor="ma")
    for index, row in enumerate(rows):
        y = top + index * (cell + GAP)
        draw.text((GAP, y + cell // 2), "".join(labels[index : index + 1]), INK, font, anchor="lm")
        for column, picture in enumerate(row):
            _place(sheet, picture, left + column * (cell + GAP), y, cell)
    return sheet


def contact_sheet(
    images: Sequence[Image.Image], labels: Sequence[str] = (), columns: int | None = None, cell: int = 128
) -> Image.Image:
    """Pictures in rows with a label of at most three lines below each.

    Args:
        images: the pictures, each fitted into a square.
        labels: one for each picture, or none.
        columns: pictures in a row; about as many as there are rows if None.
        cell: side of the square in pixels.

    Raises:
        ValueError: no picture, or labels of another number.
    """
    if not images or (labels and len(labels) != len(images)):
        raise ValueError(f"{len(images)} pictures with {len(labels)} labels: give one label for each picture")
    font = _font()
    texts = [_wrapped(label, cell, font) for label in labels] or [[] for _ in images]
    below = max(len(lines) for lines in texts) * (TEXT + 3)
    columns = columns or min(len(images), max(1, round(len(images) ** 0.5 + 0.4)))
    rows = -(-len(images) // columns)
    height = cell + below + GAP
    sheet = Image.new("RGB", (GAP + columns * (cell + GAP), GAP + rows * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (image, lines) in enumerate(zip(images, texts, strict=True)):
        x, y = GAP + index % columns * (cell + GAP), GAP + index // columns * height
        _place(sheet, image, x, y, cell)
        for number, line in enumerate(lines):
            draw.text((x + cell // 2, y + cell + 2 + number * (TEXT + 3)), line, INK, font, anchor="ma")
    return sheet


def rate_distortion(
    systems: Mapping[str, Sequence[tuple[float, float]]],
    measure: str = "PSNR in dB",
    rate: str = "bits per image",
) -> bytes:
    """A curve for each system: (rate, value) points, the rate on a logarithmic axis. Gives a PNG file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: no point.
    """
    if not any(systems.values()):
        raise ValueError("a rate-distortion figure without points: give at least one system with one")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained", dpi=150)
    axes = figure.subplots()
    markers = "osD^vPX*"
    systems = {name: sorted(points) for name, points in systems.items() if points}
    for index, (name, points) in enumerate(systems.items()):
        rates, values = zip(*points, strict=True)
        axes.plot(
            rates, values, marker=markers[index % len(markers)], linewidth=1.4, markersize=5, label=name
        )
    ticks = sorted({x for points in systems.values() for x, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(
        _apart(ticks), [f"{tick:.3g}" if tick < 1000 else f"{tick:.0f}" for tick in _apart(ticks)]
    )
    axes.minorticks_off()
    axes.set_xlabel(rate)
    axes.set_ylabel(measure)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _apart(ticks: Sequence[float]) -> list[float]:
    """The ticks without those that would stand on another's label (closer than a factor of 1.5)."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick >= 1.5 * kept[-1]:
            kept.append(tick)
    return kept


def _place(sheet: Image.Image, picture: Image.Image, x: int, y: int, cell: int) -> None:
    """Paste a picture, scaled to the cell, into the middle of it; small ones keep their pixels visible."""
    picture = to_rgb(picture)
    scale = cell / max(picture.size)
    if scale != 1:
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BICUBIC
        picture = picture.resize((size[0], size[1]), how)
    sheet.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT)


def _short(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def _wrapped(
    text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int = 3
) -> list[str]:
    """At most `most` lines of the text, each within `width` pixels."""
    per_line = max(4, int(width / max(1.0, font.getlength("n"))))
    lines = textwrap.wrap(text, per_line)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [_short(line, width, font) for line in lines]
