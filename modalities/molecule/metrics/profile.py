"""What a SMILES is compared by: InChI, three fingerprints, canonical SMILES with and without stereo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import MACCSkeys, rdFingerprintGenerator

from ..structure import parsed

RADIUS = 2


@dataclass(frozen=True)
class Profile:
    """A molecule's fingerprints and names.

    Args:
        canonical, flat: canonical SMILES, `flat` without stereo and isotopes.
        inchi: its InChI, "" for structures that have none.
        maccs: 166 MACCS keys.
        paths: RDKit's path fingerprint, 2,048 bits.
        morgan: Morgan fingerprint of radius 2, counts of unfolded environments.
    """

    canonical: str
    flat: str
    inchi: str
    maccs: Any
    paths: Any
    morgan: Any

    def same(self, other: Profile) -> bool:
        """Whether both are one molecule: equal InChI, or equal SMILES where there is no InChI."""
        if self.inchi or other.inchi:
            return self.inchi == other.inchi
        return self.canonical == other.canonical


class Profiles:
    """Profiles of SMILES, each made once."""

    def __init__(self) -> None:
        self._known: dict[str, Profile | None] = {}
        self._morgan = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS)

    def __call__(self, smiles: str) -> Profile | None:
        """The profile of a SMILES; None if it is empty or no molecule."""
        if smiles not in self._known:
            self._known[smiles] = self._make(smiles)
        return self._known[smiles]

    def _make(self, smiles: str) -> Profile | None:
        with rdBase.BlockLogs():
            mol = parsed(smiles)
            if mol is None:
                return None
            return Profile(
                canonical=Chem.MolToSmiles(mol),
                flat=Chem.MolToSmiles(mol, isomericSmiles=False),
                inchi=Chem.MolToInchi(mol),
                maccs=MACCSkeys.GenMACCSKeys(mol),
                paths=Chem.RDKFingerprint(mol),
                morgan=self._morgan.GetSparseCountFingerprint(mol),
            )


def canonical(smiles: str) -> str | None:
    """Canonical SMILES with stereo; None if it is empty or no molecule."""
    mol = parsed(smiles)
    return None if mol is None else str(Chem.MolToSmiles(mol))


def tanimoto(a: Any, b: Any) -> float:
    """Tanimoto similarity of two fingerprints of one kind, 0 to 1."""
    return float(DataStructs.TanimotoSimilarity(a, b))
