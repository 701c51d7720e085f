"""Lit spheres and rods in orthographic view, drawn into a depth buffer with numpy: no display, no GPU.

    canvas = Canvas(512, scale=30.0)       pixels, pixels per unit
    canvas.sphere(centre, radius, colour); canvas.rod(start, end, radius, colour, colour)
    canvas.picture() -> uint8 [512, 512, 3]

x points right, y up, z to the viewer; the origin is in the middle. Colours are RGB in 0 to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LIGHT = np.array([-0.4, 0.6, 0.7]) / np.linalg.norm([-0.4, 0.6, 0.7])
HALF = (LIGHT + np.array([0.0, 0.0, 1.0])) / np.linalg.norm(LIGHT + np.array([0.0, 0.0, 1.0]))
"""Between light and viewer: where a surface faces, it glints (Blinn 1977)."""
AMBIENT, DIFFUSE, GLINT, SHINE = 0.45, 0.6, 0.3, 30
FOG = 0.45
"""How much of the paper's white the farthest surface takes on."""


class Canvas:
    """A square picture in the making.

    Args:
        size: pixels on a side.
        scale: pixels per unit.
    """

    def __init__(self, size: int, scale: float) -> None:
        self.size, self.scale = size, scale
        self.depth = np.full((size, size), -np.inf)
        self.colour = np.ones((size, size, 3))

    def sphere(self, centre: ArrayLike, radius: float, colour: ArrayLike) -> None:
        """A ball."""
        c = np.asarray(centre, np.float64)
        rows, columns, x, y = self._window(c[None], radius)
        dx, dy = x - c[0], y - c[1]
        room = radius**2 - dx**2 - dy**2
        dz = np.sqrt(np.maximum(room, 0))
        normal = np.stack([dx, dy, dz], axis=-1) / radius
        self._paint((rows, columns), room > 0, c[2] + dz, normal, np.asarray(colour, np.float64))

    def rod(
        self, start: ArrayLike, end: ArrayLike, radius: float, first: ArrayLike, second: ArrayLike
    ) -> None:
        """A tube without lids, one half in each colour."""
        a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
        length = float(np.linalg.norm(b - a))
        if length < 1e-6:
            return
        u = (b - a) / length
        steep = 1 - u[2] ** 2
        if steep < 1e-6:  # seen from its end: spheres hide it
            return
        rows, columns, x, y = self._window(np.stack([a, b]), radius)
        qx, qy = x - a[0], y - a[1]
        along = qx * u[0] + qy * u[1]
        # The ray (x, y, t) meets the tube where its distance from the axis is the radius: a quadratic in t.
        half = -along * u[2]
        room = half**2 - steep * (qx**2 + qy**2 - along**2 - radius**2)
        t = (-half + np.sqrt(np.maximum(room, 0))) / steep
        at = along + t * u[2]
        foot = np.stack([qx, qy, t], axis=-1) - at[..., None] * u
        colour = np.where((at < length / 2)[..., None], np.asarray(first), np.asarray(second))
        self._paint((rows, columns), (room > 0) & (at >= 0) & (at <= length), a[2] + t, foot / radius, colour)

    def _window(self, points: Floats, radius: float) -> tuple[slice, slice, Floats, Floats]:
        """The pixels around some points, and their places in the scene."""
        middle = self.size / 2
        reach = (radius + 1 / self.scale) * self.scale
        low = np.floor(points.min(axis=0)[:2] * self.scale + middle - reach).astype(int).clip(0, self.size)
        high = np.ceil(points.max(axis=0)[:2] * self.scale + middle + reach).astype(int).clip(0, self.size)
        rows, columns = slice(self.size - high[1], self.size - low[1]), slice(low[0], high[0])
        x = (np.arange(columns.start, columns.stop) + 0.5 - middle) / self.scale
        y = (middle - np.arange(rows.start, rows.stop) - 0.5) / self.scale
        across, up = np.meshgrid(x, y)
        return rows, columns, across, up

    def _paint(
        self, window: tuple[slice, slice], there: NDArray[np.bool_], z: Floats, normal: Floats, colour: Floats
    ) -> None:
        """Pixels that lie in front of what is drawn."""
        there = there & (z > self.depth[window])
        facing = np.maximum(normal @ LIGHT, 0)[..., None]
        glint = np.maximum(normal @ HALF, 0)[..., None] ** SHINE
        lit = np.clip(colour * (AMBIENT + DIFFUSE * facing) + GLINT * glint, 0, 1)
        self.depth[window] = np.where(there, z, self.depth[window])
        self.colour[window] = np.where(there[..., None], lit, self.colour[window])

    def picture(self) -> NDArray[np.uint8]:
        """uint8 [size, size, 3]; what lies far behind fades to white, and steps of depth get a dark edge."""
        drawn = np.isfinite(self.depth)
        if not drawn.any():
            return np.full((self.size, self.size, 3), 255, np.uint8)
        near, far = self.depth[drawn].max(), self.depth[drawn].min()
        depth = np.where(drawn, self.depth, far - 1)
        fog = FOG * (near - depth) / max(near - far, 4.0)
        out = self.colour + (1 - self.colour) * np.clip(fog, 0, 1)[..., None]
        behind = np.stack([depth - np.roll(depth, shift, axis) for axis in (0, 1) for shift in (1, -1)]).max(
            axis=0
        )
        edge = np.where(drawn & (behind > 0.5), 0.55, 1.0)
        out = np.where(drawn[..., None], out * edge[..., None], 1.0)
        rounded: NDArray[np.uint8] = (out * 255).round().astype(np.uint8)
        return rounded
