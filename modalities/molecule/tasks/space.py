"""Questions about a molecule in space, with answers computed from its coordinates.

Atoms are named by their element and number among those of that element, counted in the order of the molecule's
symbols: "the second O". Distances are in Angstrom with two decimals, angles in whole degrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

import numpy as np
from rdkit import Chem

from ..posed import Floats, canonical_order, placed
from ..told import to_cxsmiles
from .record import Molecule, Record, chat, dice

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
Asked = tuple[str, str] | None
"""Question and answer; None where the molecule has no such question."""


def ordered(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with its atoms as its canonical SMILES, and so its symbols, name them."""
    return Chem.RenumberAtoms(mol, canonical_order(mol))


def named(mol: Chem.Mol) -> dict[str, int]:
    """ "the second O" -> atom, for the first ten of each element."""
    count: Counter[str] = Counter()
    out = {}
    for atom in mol.GetAtoms():
        element = atom.GetSymbol()
        if count[element] < len(ORDINALS):
            out[f"the {ORDINALS[count[element]]} {element}"] = atom.GetIdx()
        count[element] += 1
    return out


def distance(mol: Chem.Mol, x: Floats, random: Random) -> Asked:
    """How far are two atoms apart?"""
    names = named(mol)
    if len(names) < 2:
        return None
    a, b = random.sample(sorted(names), 2)
    return f"How far is {a} from {b}?", f"{np.linalg.norm(x[names[a]] - x[names[b]]):.2f}"


def angle(mol: Chem.Mol, x: Floats, random: Random) -> Asked:
    """Which angle do two bonds make?"""
    names = {atom: name for name, atom in named(mol).items()}
    found = [
        (a.GetIdx(), centre.GetIdx(), b.GetIdx())
        for centre in mol.GetAtoms()
        for a in centre.GetNeighbors()
        for b in centre.GetNeighbors()
        if a.GetIdx() < b.GetIdx() and {a.GetIdx(), centre.GetIdx(), b.GetIdx()} <= names.keys()
    ]
    if not found:
        return None
    a, centre, b = random.choice(found)
    u, v = x[a] - x[centre], x[b] - x[centre]
    cosine = u @ v / (np.linalg.norm(u) * np.linalg.norm(v))
    degrees = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return f"What is the angle {names[a]}, {names[centre]}, {names[b]}?", f"{degrees:.0f}"


def gyration(mol: Chem.Mol, x: Floats, random: Random) -> Asked:
    """The radius of gyration of the heavy atoms, weighted by mass."""
    mass = np.array([atom.GetMass() for atom in mol.GetAtoms()])
    centre = mass @ x / mass.sum()
    radius = np.sqrt(mass @ ((x - centre) ** 2).sum(1) / mass.sum())
    return "What is its radius of gyration?", f"{radius:.2f}"


def nearest(mol: Chem.Mol, x: Floats, random: Random) -> Asked:
    """Which atom lies nearest to this one without a bond between them?"""
    names = {atom: name for name, atom in named(mol).items()}
    start = random.choice(sorted(names))
    bonded = {start, *(n.GetIdx() for n in mol.GetAtomWithIdx(start).GetNeighbors())}
    others = [atom for atom in sorted(names) if atom not in bonded]
    if len(others) < 2:
        return None
    near = sorted((float(np.linalg.norm(x[a] - x[start])), a) for a in others)
    if near[1][0] - near[0][0] < 0.05:
        return None  # too close to call
    return f"Which atom that is not bonded to {names[start]} is nearest to it?", names[near[0][1]]


def hand(mol: Chem.Mol, x: Floats, random: Random) -> Asked:
    """Is a stereocentre R or S? Read from the coordinates, not from the written structure."""
    blank = placed(mol, x)
    Chem.RemoveStereochemistry(blank)
    Chem.AssignStereochemistryFrom3D(blank)
    names = {atom: name for name, atom in named(mol).items()}
    found = [
        (i, code) for i, code in Chem.FindMolChiralCenters(blank, useLegacyImplementation=False) if i in names
    ]
    known = [(i, code) for i, code in found if code in "RS"]
    if not known:
        return None
    atom, code = random.choice(known)
    return f"Is {names[atom]} R or S?", code


QUESTIONS: Mapping[str, Callable[[Chem.Mol, Floats, Random], Asked]] = {
    "distance": distance,
    "angle": angle,
    "gyration": gyration,
    "nearest": nearest,
    "hand": hand,
}


def ask(key: str, split: str, mol: Chem.Mol, kind: str, flat: bool = False) -> Record | None:
    """A question of this kind about a molecule in space; None where it has none.

    Args:
        flat: whether the question shows the structure alone, without coordinates: what can be guessed then is
            the floor that reading coordinates must beat.

    Raises:
        KeyError: no such kind.
        ValueError: no 3D conformer.
    """
    mol = ordered(mol)
    shown = to_cxsmiles(mol)
    found = QUESTIONS[kind](mol, mol.GetConformer().GetPositions(), dice(key))
    if found is None:
        return None
    question, answer = found
    return chat(
        key, split, kind, [Molecule(Chem.MolToSmiles(mol) if flat else shown), " " + question], [answer]
    )
