"""Cells of a page: words, and molecules drawn, in space too where they have coordinates."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdkit import Chem

from ..posed import Floats, heavy, in_space, placed
from ..rmsd import nearest
from ..structure import draw
from ..view3d import draw3d
from .ensembles import Ensembles
from .predictions import bare, structure_of

if TYPE_CHECKING:
    from PIL import Image

SIDE = 220
"""Pixels of a drawing."""


@dataclass(frozen=True)
class Picture:
    """A PNG inside a URL, how many drawings stand side by side in it, and words below."""

    url: str
    panels: int = 1
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """Words; with pictures, the SMILES below them; or a SMILES that is no molecule."""

    text: str
    pictures: tuple[Picture, ...] = ()
    bad: bool = False


def molecule(text: str, given: str | None = None, ensembles: Ensembles | None = None) -> Cell:
    """The drawing of a SMILES, and a picture in space if it has coordinates; the SMILES itself where it is no molecule.

    Args:
        text: SMILES or CXSMILES.
        given: of a molecule that a model wrote, the right answer: shown beside it if both are one molecule in space.
        ensembles: of a molecule that a model wrote, the conformers whose nearest is shown beside it else.
    """
    mol = structure_of(text)
    if mol is None:
        return Cell(bare(text) or "(nothing)", bad=True)
    pictures = [drawing(mol)]
    if in_space(mol):
        right = None if given is None else structure_of(given)
        pictures.append(_in_space(mol, right, ensembles))
    return Cell(bare(text), tuple(pictures))


def drawing(mol: Chem.Mol) -> Picture:
    """The structure in the plane."""
    return _picture(draw(mol, SIDE))


def poses(mol: Chem.Mol, others: Sequence[Floats], note: str) -> Picture:
    """A molecule in space, and other positions [atoms, 3] of its atoms at its right, turned onto it; one scale."""
    out = placed(mol, mol.GetConformer().GetPositions())
    for number, positions in enumerate(others, start=1):
        conformer = Chem.Conformer(out.GetConformer())
        conformer.SetPositions(positions)
        conformer.SetId(number)
        out.AddConformer(conformer)
    return _picture(draw3d(out, "all", SIDE), 1 + len(others), note)


def _in_space(mol: Chem.Mol, right: Chem.Mol | None, ensembles: Ensembles | None) -> Picture:
    mol = heavy(mol)
    if right is not None and in_space(right) and same(mol, right):
        near = nearest(mol, right)
        return poses(mol, [near.positions], f"written | right, {near.rmsd:.2f} Å apart")
    if ensembles is None:
        return poses(mol, [], "in space")
    known = ensembles(mol)
    if known is None:
        return poses(mol, [], "written; no conformer was found")
    near = nearest(mol, known)
    return poses(
        mol,
        [near.positions],
        f"written | nearest of {known.GetNumConformers()} conformers, {near.rmsd:.2f} Å apart",
    )


def same(a: Chem.Mol, b: Chem.Mol) -> bool:
    """Whether two molecules are one, stereo aside: those that an RMSD compares."""
    one, two = (Chem.MolToSmiles(heavy(mol), isomericSmiles=False) for mol in (a, b))
    return bool(one == two)


def _picture(image: Image.Image, panels: int = 1, note: str = "") -> Picture:
    file = io.BytesIO()
    image.save(file, "PNG")
    return Picture("data:image/png;base64," + base64.b64encode(file.getvalue()).decode(), panels, note)
