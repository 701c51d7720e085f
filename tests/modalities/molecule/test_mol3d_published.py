"""3D-MolT5's own example: the folded ids of PubChem CID 101399, symbol by symbol (arXiv 2406.05797, its repository)."""

from __future__ import annotations

import numpy as np
from held import text
from rdkit import Chem

from modalities.molecule.mol3d import Mol3D
from modalities.molecule.posed import carry
from modalities.molecule.symbols import SelfiesText, split

SELFIES = "[O][=C][N][C][=C][C][=C][C][=C][Ring1][=Branch1][C][=Branch1][C][=O][O]"
ROWS = [
    [2700, 2739, 1310], [31, 1827, 1310], [2357, 427, 1492], [2714, 1765, 2786], [1738, 561, 1294],
    [1738, 1527, 4046], [1738, 1527, 4046], [1738, 561, 1051], [2714, 1520, 1409], [-1, -1, -1], [-1, -1, -1],
    [2521, 1344, 670], [-1, -1, -1], [-1, -1, -1], [2700, 1802, 3452], [2885, 2616, 670],
]  # fmt: skip


def test_the_example_has_the_published_ids():
    mol = Chem.RemoveHs(Chem.MolFromMolBlock(text("molecule", "3dmolt5_example.sdf.zst")))
    modality = Mol3D(compat="3dmolt5", write="none")
    posed = carry(mol, modality.plain.mol(SelfiesText(SELFIES)))
    found = modality.rows(split(SELFIES), modality._shells([posed])[0])
    assert np.array_equal(found, [[*row, -1] for row in ROWS])
