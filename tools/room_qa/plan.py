"""The floor plan of a room as a picture: walls, a grid of metres, and each piece as a box with its kind, number and height."""

from __future__ import annotations

import colorsys
import hashlib

from PIL import Image, ImageDraw, ImageFont

from room_qa.rooms import Room

SCALE, MARGIN = 110, 60
"""Pixels of a metre, and of the border."""


def draw(room: Room) -> Image.Image:
    """Seen from above, x to the right, y upwards."""
    width, height = (round(side * SCALE) + 2 * MARGIN for side in (room.width, room.depth))
    picture = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)

    def at(x: float, y: float) -> tuple[float, float]:
        return MARGIN + x * SCALE, height - MARGIN - y * SCALE

    for metre in range(int(max(room.width, room.depth)) + 1):
        if metre <= room.width:
            pen.line([at(metre, 0), at(metre, room.depth)], fill="#dddddd")
            pen.text(
                (at(metre, 0)[0], height - MARGIN + 8), str(metre), fill="#777777", font=font, anchor="ma"
            )
        if metre <= room.depth:
            pen.line([at(0, metre), at(room.width, metre)], fill="#dddddd")
            pen.text((MARGIN - 10, at(0, metre)[1]), str(metre), fill="#777777", font=font, anchor="rm")
    pen.rectangle([at(0, room.depth), at(room.width, 0)], outline="#222222", width=4)
    for number, piece in enumerate(room.pieces):
        w, d = piece.model.size[0] / 2, piece.model.size[1] / 2
        corners = [at(piece.x - w, piece.y + d), at(piece.x + w, piece.y - d)]
        pen.rectangle(corners, fill=_colour(piece.kind), outline="#333333", width=2)
        label = f"{number} {piece.kind}\n{piece.x:.1f} {piece.y:.1f}, {piece.size[2]:.1f} high"
        pen.multiline_text(at(piece.x, piece.y), label, fill="black", font=font, anchor="mm", align="center")
    pen.text(
        (width / 2, 12),
        f"{room.name} ({room.split}), {room.width} x {room.depth} m",
        fill="black",
        font=font,
        anchor="ma",
    )
    pen.text((width / 2, 32), "back wall", fill="#777777", font=font, anchor="ma")
    return picture


def _colour(kind: str) -> tuple[int, int, int]:
    hue = int(hashlib.sha256(kind.encode()).hexdigest()[:4], 16) / 65536
    red, green, blue = (round(255 * value) for value in colorsys.hsv_to_rgb(hue, 0.3, 0.97))
    return red, green, blue
