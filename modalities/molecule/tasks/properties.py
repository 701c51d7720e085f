"""Questions about numbers: properties that RDKit computes, and measured or calculated ones from tables.

Numbers are written with a fixed count of decimals; the text tokenizers split them into digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors

from .record import Molecule, Record, chat, dice, filled

COMPUTED: Mapping[str, tuple[Callable[[Chem.Mol], float], int, str]] = {
    "mw": (Descriptors.MolWt, 2, "molecular weight (g/mol)"),
    "logp": (Crippen.MolLogP, 2, "logP (Crippen)"),
    "tpsa": (rdMolDescriptors.CalcTPSA, 2, "topological polar surface area (square Angstrom)"),
}
"""Key -> function, decimals, how questions call it."""
GIVEN: Mapping[str, tuple[int, str]] = {
    "homo": (4, "HOMO energy (hartree)"),
    "lumo": (4, "LUMO energy (hartree)"),
    "gap": (4, "HOMO-LUMO gap (hartree)"),
}
"""Columns of QM9 -> decimals, how questions call them."""
ASK = ("{molecule} What is its " + "NAME?", "Give the NAME of {molecule}.")


def question(key: str, split: str, smiles: str, name: str, answer: str) -> Record:
    """What is its {name}? -> answer."""
    template = dice(key).choice(ASK).replace("NAME", name)
    return chat(key, split, name, filled(template, molecule=Molecule(smiles)), [answer])


def computed(key: str, split: str, smiles: str, what: str) -> Record:
    """A property that RDKit computes.

    Raises:
        KeyError: none is called `what`.
        ValueError: no molecule.
    """
    function, digits, name = COMPUTED[what]
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError(f"{smiles!r} is not SMILES: leave it out")
    return question(key, split, smiles, name, f"{function(mol):.{digits}f}")


def measured(key: str, split: str, smiles: str, name: str, value: str) -> Record | None:
    """A column of any table: numbers get two decimals; a column of 0 and 1 is asked with yes and no. None for no value.

    Args:
        name: how the question calls it.
        value: the cell as it stands; the caller turns 0 and 1 of a class into "no" and "yes".

    Raises:
        ValueError: neither a number nor yes or no.
    """
    value = value.strip()
    if not value or value.lower() == "nan":
        return None
    return question(key, split, smiles, name, value if value in ("yes", "no") else f"{float(value):.2f}")


def given(key: str, split: str, smiles: str, what: str, value: float) -> Record:
    """A property of QM9's table.

    Raises:
        KeyError: none is called `what`.
    """
    digits, name = GIVEN[what]
    return question(key, split, smiles, name, f"{value:.{digits}f}")
