"""Sentences about a molecule, each made of measured or exactly computed facts."""

from __future__ import annotations

import functools
from typing import NamedTuple

from rdkit import Chem
from rdkit.Chem import Lipinski, rdMolDescriptors

from demo_data.common import chance, join, sentence

SENTENCES, LONG_NAME = 6, 90

# what a molecule carries, as SMARTS; a later group counts only if no earlier one covers its first atom
GROUPS = {
    "a carboxylic acid": "[CX3](=O)[OX2H1]",
    "an acid anhydride": "[CX3](=O)[OX2][CX3](=O)",
    "an acyl chloride": "[CX3](=O)Cl",
    "a carbamate": "[NX3][CX3](=O)[OX2]",
    "a urea": "[NX3][CX3](=O)[NX3]",
    "an amide": "[CX3](=O)[NX3]",
    "an ester": "[CX3](=O)[OX2][#6]",
    "an aldehyde": "[CX3H1](=O)[#6,#1]",
    "a ketone": "[CX3](=O)([#6])[#6]",
    "a sulfonamide": "[SX4](=O)(=O)[NX3]",
    "a sulfonic acid": "[SX4](=O)(=O)[OX2H1]",
    "a sulfone": "[SX4](=O)(=O)([#6])[#6]",
    "a sulfoxide": "[SX3](=O)([#6])[#6]",
    "a nitro group": "[NX3+](=O)[O-]",
    "a nitrile": "[CX2]#[NX1]",
    "an azo group": "[#6][NX2]=[NX2][#6]",
    "an oxime": "[CX3]=[NX2][OX2H1]",
    "a hydrazine": "[NX3][NX3]",
    "a boronic acid": "B([OX2H1])[OX2H1]",
    "a phosphate": "P(=O)([OX2])[OX2]",
    "a phenol": "c[OX2H1]",
    "an alcohol": "[CX4][OX2H1]",
    "a thiol": "[#6][SX2H1]",
    "a thioether": "[#6;!$([#6]=[O,S,N])][SX2][#6;!$([#6]=[O,S,N])]",
    "an ether": "[#6;!$([#6]=O)][OX2][#6;!$([#6]=O)]",
    "a primary amine": "[NX3H2][#6;!$([#6]=[O,S,N])]",
    "a secondary amine": "[NX3H1]([#6;!$([#6]=[O,S,N])])[#6;!$([#6]=[O,S,N])]",
    "a tertiary amine": "[NX3H0]([CX4])([CX4])[CX4]",
    "a carbon-carbon triple bond": "[CX2]#[CX2]",
    "a carbon-carbon double bond": "[CX3]=[CX3]",
    "a pyridine ring": "n1ccccc1",
    "a thiophene ring": "s1cccc1",
    "a furan ring": "o1cccc1",
    "an indole": "c1ccc2[nH]ccc2c1",
    "a benzene ring": "c1ccccc1",
    "fluorine": "[F]",
    "chlorine": "[Cl]",
    "bromine": "[Br]",
    "iodine": "[I]",
}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
FAMILIES = {  # the group that names a molecule when it is its first one
    "a carboxylic acid": "a carboxylic acid", "an amide": "an amide", "an ester": "an ester",
    "an aldehyde": "an aldehyde", "a ketone": "a ketone", "a phenol": "a phenol",
    "an alcohol": "an alcohol", "a nitrile": "a nitrile", "an ether": "an ether", "a thiol": "a thiol",
    "a primary amine": "an amine", "a secondary amine": "an amine", "a tertiary amine": "an amine",
}  # fmt: skip


class Facts(NamedTuple):
    """What sentences are made of; temperatures in kelvin, None where not measured."""

    name: str
    iupac: str
    formula: str
    mol: Chem.Mol
    mass: float
    melting: float | None
    boiling: float | None
    flash: float | None
    refraction: float | None


def sentences(cas: str, facts: Facts) -> list[str]:
    """Up to six different sentences, chosen by the CAS number among all that the facts allow."""
    forms = [*_names(facts), *_structure(facts), *_measured(facts)]
    return [sentence(text) for text in chance(f"sentence/{cas}").sample(forms, min(SENTENCES, len(forms)))]


def descriptions(cas: str, facts: Facts) -> list[str]:
    """Three sentences that say enough to draw the molecule or much of it: systematic name, formula, groups."""
    groups = join(carried(facts.mol)[:3] or ["no functional group"])
    forms = [
        f"{facts.iupac}",
        f"{facts.name}, that is {facts.iupac}",
        f"the molecule {facts.iupac}, with the formula {facts.formula}",
        f"{facts.formula} with {groups}: {facts.iupac}",
        f"{family(facts.mol)} called {facts.name}, formula {facts.formula}, with {groups}",
    ]
    return [sentence(text) for text in chance(f"description/{cas}").sample(forms, 3)]


def carried(mol: Chem.Mol) -> list[str]:
    """Functional groups in the order of the table, each with its number ("two ketones" for two)."""
    covered: set[int] = set()
    out = []
    for name, pattern in _patterns().items():
        hits = [hit for hit in mol.GetSubstructMatches(pattern) if hit[0] not in covered]
        if not hits:
            continue
        if name.startswith(("a ", "an ")):
            if not name.endswith("ring") and name != "an indole":
                covered.update(hit[0] for hit in hits)
            out.append(_number(name, len(hits)))
        else:
            out.append(name)
    return out


def family(mol: Chem.Mol) -> str:
    """What kind of molecule it is, by its first group: "a ketone", else "a hydrocarbon" or "a compound"."""
    if {atom.GetSymbol() for atom in mol.GetAtoms()} <= {"C", "H"}:
        return "a hydrocarbon"
    return next((FAMILIES[name] for name in _present(mol) if name in FAMILIES), "a compound")


def _present(mol: Chem.Mol) -> list[str]:
    return [name for name, pattern in _patterns().items() if mol.HasSubstructMatch(pattern)]


@functools.lru_cache(maxsize=1)
def _patterns() -> dict[str, Chem.Mol]:
    return {name: Chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}


def _number(name: str, count: int) -> str:
    if count == 1:
        return name
    word = NUMBERS[count] if count < len(NUMBERS) else str(count)
    bare = name.split(" ", 1)[1]
    return f"{word} {bare}" + ("es" if bare.endswith("x") else "s")


def _names(facts: Facts) -> list[str]:
    """Forms 1-4: the common and the systematic name, while that is readable."""
    name, iupac = facts.name, facts.iupac
    if len(iupac) > LONG_NAME:
        return [f"{name} is {family(facts.mol)} with the formula {facts.formula}"]
    return [
        f"{name} is also written {iupac}",
        f"the systematic name of {name} is {iupac}",
        f"this is {iupac}; chemists call it {name}",
        f"{name} is {family(facts.mol)} with the formula {facts.formula}",
    ]


def _structure(facts: Facts) -> list[str]:
    """Forms 5-11: formula, mass, groups, rings, elements, hydrogen bonds, stereo."""
    name, formula, mol = facts.name, facts.formula, facts.mol
    rings, aromatic = rdMolDescriptors.CalcNumRings(mol), rdMolDescriptors.CalcNumAromaticRings(mol)
    carbons = sum(atom.GetSymbol() == "C" for atom in mol.GetAtoms())
    forms = [
        f"{name} has the formula {formula} and a molar mass of {facts.mass:.1f} g/mol",
        f"the formula {formula} with {_rings(rings)} belongs to {name}",
        f"{name} has {_rings(rings)}, {NUMBERS[min(aromatic, 10)]} of them aromatic, and {_atoms(carbons, 'carbon')}"
        if rings > 1
        else f"{name} has {_rings(rings)} and {_atoms(carbons, 'carbon')}",
        f"{name} has {_count(Lipinski.NumHDonors(mol), 'hydrogen-bond donor')} and "
        f"{_count(Lipinski.NumHAcceptors(mol), 'acceptor')}",
    ]
    groups = carried(mol)
    if groups:
        forms += [f"{name} carries {join(groups[:3])}", f"chemists see {join(groups[:2])} in {name}"]
    others = sorted({atom.GetSymbol() for atom in mol.GetAtoms()} - {"C", "H"})
    if others:
        words = [_atoms(sum(a.GetSymbol() == e for a in mol.GetAtoms()), ELEMENT[e]) for e in others]
        forms.append(f"besides carbon and hydrogen, {name} holds {join(words)}")
    centres = len(Chem.FindMolChiralCenters(mol, useLegacyImplementation=False))
    if centres:
        forms.append(f"{name} is drawn with {_count(centres, 'stereocentre')}")
    return forms


def _measured(facts: Facts) -> list[str]:
    """Forms 12-18: what was measured, in degrees Celsius."""
    name, forms = facts.name, []
    kind = family(facts.mol)
    if facts.melting is not None:
        celsius = round(facts.melting - 273.15)
        forms += [f"{name} melts at {celsius} °C", f"{kind} that melts at {celsius} °C: {name}"]
        if celsius >= 35:
            forms.append(f"{name} is a solid at room temperature")
        elif celsius <= 10 and facts.boiling is not None and facts.boiling > 323.15:
            forms.append(f"{name} is a liquid at room temperature")
    if facts.boiling is not None:
        forms.append(f"{name} boils at {round(facts.boiling - 273.15)} °C")
    if facts.flash is not None:
        forms.append(f"the flash point of {name} is {round(facts.flash - 273.15)} °C")
    if facts.refraction is not None:
        forms.append(f"{name} has a refractive index of {facts.refraction:.3f}")
    return forms


def _rings(count: int) -> str:
    return _count(count, "ring")


def _atoms(count: int, element: str) -> str:
    return _count(count, f"{element} atom")


def _count(count: int, noun: str) -> str:
    word = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return f"{word} {noun}" + ("" if count == 1 else "s")


ELEMENT = {
    "B": "boron", "Br": "bromine", "Cl": "chlorine", "F": "fluorine", "I": "iodine", "N": "nitrogen",
    "O": "oxygen", "P": "phosphorus", "S": "sulfur", "Si": "silicon",
}  # fmt: skip
