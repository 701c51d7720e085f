"""All of ChEBI-20's test molecules through SELFIES and back."""

from __future__ import annotations

import pytest
from held import text

from modalities.molecule.selfies import Selfies


@pytest.mark.slow
def test_every_test_molecule_of_chebi_20_comes_back():
    rows = text("molecule", "chebi20_test.txt.zst").splitlines()[1:]
    smiles = [row.split("\t")[1].replace("\\\\", "\\") for row in rows]
    wide = Selfies("hypervalent", longest=1000, alphabet="wide")
    back = wide.decode(wide.encode(smiles))
    assert len(smiles) == 3300
    assert [wide.label(one) for one in back] == [wide.label(one) for one in smiles]
