"""Pictures of molecules in space: balls and sticks in the colours of chemists, without a display.

    draw3d(mol) -> the first conformer              draw3d(mol, "all") -> all, side by side
    draw3d(mol, [0, 1], overlay=True) -> two on one another, carbon in a colour of each
    beside(drawing, mol) -> a drawing in the plane, and the first conformer at its right

Molecules are turned so that their longest extent is level and their shortest towards the viewer, then tilted a
little; handedness is kept. All panels have one scale.

Colours are those of Corey, Pauling and Koltun's models as they are used today; radii of balls follow van der Waals
radii (RDKit's table).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from .solids import Canvas

if TYPE_CHECKING:
    from PIL import Image

Floats = NDArray[np.float64]

COLOURS = {
    "H": (0.93, 0.93, 0.93), "C": (0.42, 0.42, 0.42), "N": (0.19, 0.31, 0.97), "O": (0.93, 0.09, 0.09),
    "F": (0.45, 0.83, 0.32), "Cl": (0.12, 0.75, 0.12), "Br": (0.60, 0.16, 0.12), "I": (0.50, 0.10, 0.60),
    "S": (0.95, 0.80, 0.15), "P": (1.00, 0.50, 0.00), "B": (1.00, 0.67, 0.55), "Si": (0.80, 0.68, 0.50),
    "Na": (0.55, 0.30, 0.90), "K": (0.50, 0.25, 0.80), "Se": (0.90, 0.60, 0.10), "Fe": (0.80, 0.40, 0.20),
}  # fmt: skip
OTHER = (0.75, 0.45, 0.65)
TINTS = ((0.42, 0.42, 0.42), (0.15, 0.62, 0.62), (0.80, 0.48, 0.15), (0.48, 0.40, 0.78), (0.45, 0.62, 0.20))
"""Carbon in each conformer of an overlay."""
BALL, STICK, THIN = 0.24, 0.13, 0.075
"""Share of the van der Waals radius; radii of a single bond and of each line of a multiple one, Angstrom."""
GAP = 0.17
"""From the middle of a multiple bond to its lines, Angstrom."""
TILT = np.radians([18.0, -22.0])
MARGIN = 1.0
SMALLEST = 5.0
"""Angstrom that a panel shows at least."""
SAMPLES = 3


def draw3d(
    mol: Chem.Mol,
    conformers: Sequence[int] | Literal["all"] | None = None,
    size: int = 256,
    overlay: bool = False,
) -> Image.Image:
    """RGB on white: a row of panels of `size` pixels, [size, size * panels], or one panel where they overlay.

    Args:
        mol: with coordinates, 3D or 2D.
        conformers: their ids, None for the first, "all" for each. They are turned alike, onto the first.
        size: 16 and up.
        overlay: all in one panel.

    Raises:
        ValueError: no atoms, no such conformer, coordinates that are not finite.
    """
    from PIL import Image

    if size < 16:
        raise ValueError(f"size={size} is out of range: 16 pixels and up")
    poses = _turned(_poses(mol, conformers))
    every = np.concatenate(poses)
    middle = (every.max(axis=0) + every.min(axis=0)) / 2
    poses = [pose - middle for pose in poses]
    span = max(max(float(np.abs(pose[:, :2]).max()) for pose in poses) + MARGIN, SMALLEST / 2)
    panels = [poses] if overlay else [[pose] for pose in poses]
    sheet = Image.new("RGB", (size * len(panels), size), "white")
    flat = Chem.Mol(mol)
    Chem.Kekulize(flat)
    for number, panel in enumerate(panels):
        canvas = Canvas(size * SAMPLES, size * SAMPLES / (2 * span))
        for at, pose in enumerate(panel):
            _draw(canvas, flat, pose, TINTS[at % len(TINTS)])
        picture = Image.fromarray(canvas.picture()).resize((size, size), Image.Resampling.BOX)
        sheet.paste(picture, (number * size, 0))
    return sheet


def beside(drawn: Image.Image, mol: Chem.Mol) -> Image.Image:
    """A square drawing with the molecule's first conformer at its right, of the same size: [size, 2 * size] RGB.

    Raises:
        ValueError: as `draw3d`.
    """
    from PIL import Image

    size = drawn.height
    sheet = Image.new("RGB", (2 * size, size), "white")
    sheet.paste(drawn, (0, 0))
    sheet.paste(draw3d(mol, size=size), (size, 0))
    return sheet


def _poses(mol: Chem.Mol, conformers: Sequence[int] | Literal["all"] | None) -> list[Floats]:
    known = {one.GetId(): one for one in mol.GetConformers()}
    if not known or not mol.GetNumAtoms():
        raise ValueError(
            f"{Chem.MolToSmiles(mol) or 'the empty molecule'} has no coordinates to draw: embed it first"
        )
    wanted = (
        list(known)
        if conformers == "all"
        else [next(iter(known))]
        if conformers is None
        else list(conformers)
    )
    unknown = [one for one in wanted if one not in known]
    if unknown or not wanted:
        raise ValueError(f"there is no conformer {unknown[0] if unknown else ''}: the ids are {list(known)}")
    poses = [known[one].GetPositions() for one in wanted]
    if not all(np.isfinite(pose).all() for pose in poses):
        raise ValueError(f"{Chem.MolToSmiles(mol)} has coordinates that are not finite: mend the record")
    return poses


def _turned(poses: list[Floats]) -> list[Floats]:
    """All laid onto the first, which is laid along its principal axes and tilted."""
    first = poses[0] - poses[0].mean(axis=0)
    _, _, axes = np.linalg.svd(first, full_matrices=True)
    for axis in axes[:2]:  # an axis points to where the first atom off its middle lies
        along = first @ axis
        off = np.flatnonzero(np.abs(along) > 1e-3)
        if len(off) and along[off[0]] > 0:
            axis *= -1
    axes[2] = np.cross(axes[0], axes[1])
    (cx, cy), (sx, sy) = np.cos(TILT), np.sin(TILT)
    tilt = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn = (tilt @ axes).T
    return [_onto(pose - pose.mean(axis=0), first) @ turn for pose in poses]


def _onto(points: Floats, goal: Floats) -> Floats:
    """Centred points, turned to fit centred ones (Kabsch 1976)."""
    u, _, v = np.linalg.svd(points.T @ goal)
    u[:, 2] *= np.sign(np.linalg.det(u) * np.linalg.det(v))
    out: Floats = points @ (u @ v)
    return out


def _draw(canvas: Canvas, mol: Chem.Mol, pose: Floats, carbon: tuple[float, float, float]) -> None:
    table = Chem.GetPeriodicTable()
    colours = []
    for atom, where in zip(mol.GetAtoms(), pose, strict=True):
        symbol = atom.GetSymbol()
        colours.append(carbon if symbol == "C" else COLOURS.get(symbol, OTHER))
        radius = BALL * table.GetRvdw(atom.GetAtomicNum()) if atom.GetAtomicNum() else 0.3
        canvas.sphere(where, radius, colours[-1])
    for bond in mol.GetBonds():
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        lines = int(min(max(bond.GetBondTypeAsDouble(), 1), 3))
        side = _side(mol, pose, a, b)
        for place in np.arange(lines) - (lines - 1) / 2:
            shift = place * 2 * GAP / max(lines - 1, 1) * side
            canvas.rod(
                pose[a] + shift, pose[b] + shift, STICK if lines == 1 else THIN, colours[a], colours[b]
            )


def _side(mol: Chem.Mol, pose: Floats, a: int, b: int) -> Floats:
    """Where the lines of a multiple bond lie apart: in the plane of its neighbours, or across the view."""
    along = pose[b] - pose[a]
    size = float(np.linalg.norm(along))
    if size < 1e-6:
        return np.zeros(3)
    along = along / size
    near = [
        one.GetIdx()
        for end in (a, b)
        for one in mol.GetAtomWithIdx(end).GetNeighbors()
        if one.GetIdx() not in (a, b)
    ]
    for way in (*(pose[one] - pose[a] for one in near), np.cross(along, (0, 0, 1)), np.array([1.0, 0, 0])):
        across = way - (way @ along) * along
        if np.linalg.norm(across) > 0.3:
            unit: Floats = across / np.linalg.norm(across)
            return unit
    return np.zeros(3)
