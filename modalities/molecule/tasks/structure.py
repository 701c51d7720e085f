"""Molecules alone: mending SELFIES, writing coordinates, and the molecule that a list of coordinates shows."""

from __future__ import annotations

from rdkit import Chem

from ..selfies import Selfies
from ..symbols import DOT, is_atom
from ..told import to_cxsmiles
from .record import Molecule, Record, chat, dice, filled

MEND = ("{broken} lost some of its symbols. Mend it.", "Complete {broken}.")
PLACE = ("{molecule} Give its coordinates.", "How does {molecule} lie in space?")
READ = ("Which molecule is this? {lines}", "{lines} Draw the molecule.")


def denoise(key: str, split: str, smiles: str, tokenizer: Selfies, rate: float = 0.15) -> Record | None:
    """A molecule from its SELFIES without some spans of symbols, three long on average.

    What is left is a molecule, too, since SELFIES always is: no sentinels are needed. None where nothing would be left.
    """
    symbols = [tokenizer.symbols[i] for i in tokenizer.encode([smiles])[0].ids.tolist()]
    random = dice(key)
    kept, at = [], 0
    while at < len(symbols):
        if random.random() < rate / 3:
            at += max(1, min(6, round(random.expovariate(1 / 3))))
        else:
            kept.append(symbols[at])
            at += 1
    broken: list[str] = []
    for symbol in kept:  # a fragment begins with an atom
        if is_atom(symbol) or (broken and broken[-1] != DOT):
            broken.append(symbol)
    while broken and broken[-1] == DOT:
        broken.pop()
    if not broken or len(broken) == len(symbols):
        return None
    said = filled(random.choice(MEND), broken=Molecule("".join(broken)))
    return chat(key, split, "denoise", said, [Molecule(smiles)])


def place(key: str, split: str, mol: Chem.Mol) -> Record:
    """Molecule -> the same in space.

    Raises:
        ValueError: no 3D conformer.
    """
    said = filled(dice(key).choice(PLACE), molecule=Molecule(Chem.MolToSmiles(mol)))
    return chat(key, split, "place", said, [Molecule(to_cxsmiles(mol))])


def seen(key: str, split: str, mol: Chem.Mol) -> Record:
    """Coordinates of the atoms as text, in random order and place -> molecule.

    Raises:
        ValueError: no 3D conformer.
    """
    to_cxsmiles(mol)
    random = dice(key)
    atoms = list(zip(mol.GetAtoms(), mol.GetConformer().GetPositions().tolist(), strict=True))
    random.shuffle(atoms)
    lines = "; ".join(f"{atom.GetSymbol()} {x:.1f} {y:.1f} {z:.1f}" for atom, (x, y, z) in atoms)
    return chat(
        key, split, "seen", filled(random.choice(READ), lines=lines), [Molecule(Chem.MolToSmiles(mol))]
    )
