"""Pictures in space: what is where, the nearer hides the farther, handedness, panels, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rdkit import Chem

from modalities.molecule.conformers import embed, several
from modalities.molecule.posed import placed
from modalities.molecule.solids import Canvas
from modalities.molecule.view3d import draw3d

RED, BLUE = (1, 0, 0), (0, 0, 1)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.int64)


def share(picture: Image.Image, colour: int) -> float:
    """How much of a picture is mostly of one of the three colours."""
    values = pixels(picture)
    others = np.delete(values, colour, axis=2).max(axis=2)
    return float((values[..., colour] > others + 60).mean())


def test_spheres_and_rods_are_where_they_are_put():
    canvas = Canvas(100, 10.0)
    canvas.sphere((2, 3, 0), 1.0, RED)
    canvas.rod((-4, -4, 0), (4, -4, 0), 0.3, RED, BLUE)
    picture = canvas.picture().astype(int)
    assert picture[20, 70, 0] > picture[20, 70, 2] + 60  # x to the right, y up
    assert (picture[20, 85] == 255).all()
    assert picture[90, 20, 0] > picture[90, 20, 2] + 60
    assert picture[90, 80, 2] > picture[90, 80, 0] + 60
    assert (picture[75, 50] == 255).all()
    disc = (picture[:45] < 255).any(axis=2).sum()
    assert disc == pytest.approx(np.pi * 100, rel=0.05)


def test_the_nearer_hides_the_farther_whatever_the_order():
    both = []
    for order in (1, -1):
        canvas = Canvas(60, 10.0)
        for centre, colour in [((0, 0, 2), RED), ((0, 0, -2), BLUE)][::order]:
            canvas.sphere(centre, 1.0, colour)
        both.append(canvas.picture())
    assert np.array_equal(*both)
    assert both[0][30, 30, 0] > both[0][30, 30, 2]


def test_rods_towards_the_viewer_and_of_no_length_draw_nothing():
    canvas = Canvas(40, 10.0)
    canvas.rod((0, 0, 0), (0, 0, 1), 0.3, RED, RED)
    canvas.rod((0, 0, 0), (0, 0, 0), 0.3, RED, RED)
    canvas.sphere((50, 50, 0), 1.0, RED)  # outside
    assert (canvas.picture() == 255).all()


def test_a_molecule_is_drawn_in_its_colours():
    picture = draw3d(embed(Chem.MolFromSmiles("OCCCCN")), size=200)
    assert picture.size == (200, 200)
    assert picture.mode == "RGB"
    assert share(picture, 0) > 0.003
    assert share(picture, 2) > 0.003
    assert 0.02 < (pixels(picture) < 250).any(axis=2).mean() < 0.6
    assert np.array_equal(pixels(picture), pixels(draw3d(embed(Chem.MolFromSmiles("OCCCCN")), size=200)))


def test_a_turn_changes_nothing_and_a_mirror_does():
    mol = embed(Chem.MolFromSmiles("C[C@H](N)C(=O)O"))
    where = mol.GetConformer().GetPositions()
    picture = pixels(draw3d(mol))
    turned = pixels(draw3d(placed(mol, where[:, [1, 2, 0]] + 30)))
    mirrored = pixels(draw3d(placed(mol, where * (1, 1, -1))))
    assert np.abs(picture - turned).mean() < 0.5
    assert np.abs(picture - mirrored).mean() > 2


def test_panels_and_overlays():
    mol = several(Chem.MolFromSmiles("CCCCCO"), 3)
    assert draw3d(mol, "all", 64).size == (192, 64)
    assert draw3d(mol, [2, 0], 64).size == (128, 64)
    together = draw3d(mol, [0, 1, 2], 64, overlay=True)
    assert together.size == (64, 64)
    assert (pixels(together) < 250).any(axis=2).sum() > (pixels(draw3d(mol, [0], 64)) < 250).any(axis=2).sum()
    same = placed(mol, mol.GetConformer().GetPositions())
    other = Chem.Conformer(same.GetConformer())
    other.SetPositions(mol.GetConformer().GetPositions()[:, [2, 0, 1]] + 5)
    other.SetId(7)
    same.AddConformer(other)
    left, right = np.split(pixels(draw3d(same, "all", 64)), 2, axis=1)
    assert np.abs(left - right).mean() < 0.5


@pytest.mark.parametrize(
    "smiles", ["C", "CC", "C#C", "C#CC#C", "[Na+].[Cl-]", "c1ccccc1", "[2H]O", "C[Se]C", "C1CC1"]
)
def test_every_shape_draws(smiles):
    picture = pixels(draw3d(embed(Chem.MolFromSmiles(smiles)), size=48))
    assert (picture < 250).any()


def test_flat_layouts_draw_too():
    mol = Chem.MolFromSmiles("CC(=O)Oc1ccccc1")
    Chem.rdDepictor.Compute2DCoords(mol)
    assert draw3d(mol, size=64).size == (64, 64)


def test_what_is_refused():
    mol = embed(Chem.MolFromSmiles("CCO"))
    with pytest.raises(ValueError, match="CCO has no coordinates to draw: embed it first"):
        draw3d(Chem.MolFromSmiles("CCO"))
    with pytest.raises(ValueError, match=r"there is no conformer 3: the ids are \[0\]"):
        draw3d(mol, [0, 3])
    with pytest.raises(ValueError, match="size=8 is out of range"):
        draw3d(mol, size=8)
    with pytest.raises(ValueError, match="not finite"):
        draw3d(placed(mol, np.full((3, 3), np.nan)))


def test_pictures_are_imported_late():
    code = "import sys, modalities.molecule.view3d; assert 'PIL' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
