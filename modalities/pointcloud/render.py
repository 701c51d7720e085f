"""A picture of a cloud: shaded discs, z-buffered, with ground shadow; numpy and PIL, no display and no GPU.

Each point is a disc that faces the camera, as large as the spacing of the points asks for. Its brightness
comes from a normal fitted to its neighbours, from depth, and from how enclosed it lies; its hue from height, unless it has a colour.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .sample import gather, nearest, unit_sphere

SIZE = 256
OVERSAMPLE = 2
AZIMUTH, ELEVATION = 35.0, 22.0
NEIGHBOURS = 10
MOST = 4096
"""Points drawn; more are thinned."""
OCCLUDERS = 512
DISC = (0.014, 0.08)
"""Smallest and largest radius of a disc, in units of the unit sphere."""
LIGHT = (-0.35, -0.5, 0.8)

Array = NDArray[np.float64]


def render(
    points: Tensor, size: int = SIZE, *, azimuth: float = AZIMUTH, elevation: float = ELEVATION
) -> Image.Image:
    """Draw a cloud, z up, on white.

    Args:
        points: [n, 3] in any unit, of which the picture shows the unit sphere, or [n, 6] with colours in [0, 1].
        size: side of the picture in pixels.
        azimuth, elevation: where the camera stands, in degrees.
    """
    cloud = unit_sphere(points[:, :3].double()).points
    some = torch.arange(min(MOST, len(cloud))) * len(cloud) // min(MOST, len(cloud))
    cloud = cloud[some]
    normals, spacing, openness = _surface(cloud)
    right, up, view = _camera(azimuth, elevation)
    xyz: Array = cloud.numpy()
    side = size * OVERSAMPLE
    scale = 0.47 * side
    radius = float(np.clip(0.75 * np.median(spacing), *DISC)) * scale

    facing = normals * np.sign(normals @ view + 1e-9)[:, None]  # a cloud's normals have no outside
    light = np.array(LIGHT) / np.linalg.norm(LIGHT)
    shade = 0.5 + 0.35 * np.clip(facing @ light, 0, 1) + 0.15 * np.abs(facing @ view)
    depth = xyz @ view
    shade *= (0.82 + 0.18 * (depth + 1) / 2) * openness
    own: Array = points[some, 3:].double().numpy()
    colour = (own if own.shape[1] == 3 else _hues(xyz[:, 2])) * shade[:, None]

    canvas = np.ones((side, side, 3))
    _shadow(canvas, xyz, right, up, scale, radius)
    middle = side / 2
    columns, rows = middle + scale * (xyz @ right), middle - scale * (xyz @ up)
    _discs(canvas, columns, rows, depth, colour, radius)
    picture = Image.fromarray((canvas.clip(0, 1) * 255).round().astype(np.uint8))
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def grid(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Pictures of equal size side by side, row by row."""
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * width, math.ceil(len(pictures) / columns) * height), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * width, i // columns * height))
    return sheet


def _surface(cloud: Tensor) -> tuple[Array, Array, Array]:
    """Normals [n, 3], distance to the nearest neighbour [n], and openness [n] from 0.75 (inside) to 1."""
    count = min(NEIGHBOURS, len(cloud))
    around = gather(cloud[None], nearest(cloud[None], cloud[None], count))[0]  # [n, K, 3]
    offset = around - around.mean(1, keepdim=True)
    _, vectors = torch.linalg.eigh(offset.transpose(1, 2) @ offset)
    if count > 2:
        spacing = (around - cloud[:, None]).norm(dim=-1)[:, 2]
    else:
        spacing = cloud.new_full((len(cloud),), DISC[1])
    some = cloud[:: math.ceil(len(cloud) / OCCLUDERS)]
    higher = some[None, :, 2] > cloud[:, None, 2] + 0.05  # [n, some], what lies over a point
    beside = (some[None, :, :2] - cloud[:, None, :2]).square().sum(-1) < 0.02
    covered = (higher & beside).double().mean(1)
    openness = 1 - 0.25 * (covered / 0.05).clamp(max=1)
    return vectors[:, :, 0].numpy(), spacing.numpy(), openness.numpy()


def _camera(azimuth: float, elevation: float) -> tuple[Array, Array, Array]:
    """Unit vectors to the right, up and towards the camera."""
    a, e = math.radians(azimuth - 90), math.radians(elevation)
    view = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    return right, np.cross(view, right), view


def _hues(height: Array) -> Array:
    """From blue below to orange above: [n, 3]."""
    low, high = height.min(), height.max()
    share = (height - low) / max(high - low, 1e-9)
    table = np.array([colorsys.hsv_to_rgb(0.58 - 0.5 * t, 0.62, 1.0) for t in np.linspace(0, 1, 64)])
    found: Array = table[(share * 63).round().astype(int)]
    return found


def _shadow(canvas: Array, xyz: Array, right: Array, up: Array, scale: float, radius: float) -> None:
    """Darken the ground below the lowest point where the light does not reach."""
    light = np.array(LIGHT)
    drop = (xyz[:, 2] - xyz[:, 2].min() + 0.02) / light[2]
    ground = xyz - drop[:, None] * light
    middle = canvas.shape[0] / 2
    columns, rows = middle + scale * (ground @ right), middle - scale * (ground @ up)
    mask = np.zeros((*canvas.shape[:2], 3))
    _discs(mask, columns, rows, np.zeros(len(xyz)), np.ones((len(xyz), 3)), 1.3 * radius)
    blurred = Image.fromarray((mask[:, :, 0] * 255).astype(np.uint8))
    small = blurred.resize((canvas.shape[1] // 8, canvas.shape[0] // 8), Image.Resampling.BOX)
    soft = np.asarray(small.resize(canvas.shape[1::-1], Image.Resampling.BICUBIC), dtype=np.float64) / 255
    canvas *= 1 - 0.22 * soft[:, :, None]


def _discs(canvas: Array, columns: Array, rows: Array, depth: Array, colour: Array, radius: float) -> None:
    """Paint discs [n], the nearest last; each is a little darker towards its rim."""
    side = canvas.shape[0]
    reach = math.ceil(radius)
    span = np.arange(-reach, reach + 1)
    dx, dy = (each.ravel() for each in np.meshgrid(span, span))
    inside = dx**2 + dy**2 <= radius**2
    dx, dy = dx[inside], dy[inside]
    rim = 1 - 0.18 * (dx**2 + dy**2) / max(radius, 1.0) ** 2
    order = np.argsort(depth, kind="stable")
    x = columns[order, None].round().astype(int) + dx
    y = rows[order, None].round().astype(int) + dy
    fits = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    place = (y * side + x)[fits]
    paint = (colour[order, None, :] * rim[None, :, None])[fits]
    last = np.full(side * side, -1)
    np.maximum.at(last, place, np.arange(len(place)))  # the disc painted last, which is the nearest
    seen = last >= 0
    canvas.reshape(-1, 3)[seen] = paint[last[seen]]
