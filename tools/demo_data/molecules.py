"""About 4,000 small organic molecules of PyPI `chemicals` with names, facts and sentences made of facts.

Only the free tables are used: PubChem identifiers (public domain), wikidata properties (CC0) and Open
Notebook melting points (CC0). One fragment, common elements, at most 64 SELFIES symbols that all occur in
five of the molecules; a common name and a measured property; then the first 4,000 by hash of the CAS number.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import selfies
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdMolDescriptors

from demo_data.common import Record, digest, split
from demo_data.molecule_text import Facts, descriptions, sentences
from demo_data.packages import Packages, members

CHEMICALS = "chemicals==1.5.2"
IDENTIFIERS = "Identifiers/chemical identifiers pubchem large.tsv"
WIKIDATA, NOTEBOOK = "Misc/wikidata_properties.tsv", "Phase Change/OpenNotebook Melting Points.tsv"
ELEMENTS = {"C", "N", "O", "S", "P", "F", "Cl", "Br", "I", "B", "Si", "H"}
LONGEST, SEEN, COUNT = 64, 5, 4000


class Row(NamedTuple):
    """One line of the identifier table."""

    cas: str
    smiles: str
    inchikey: str
    iupac: str
    synonyms: list[str]


def build(packages: Packages, count: int = COUNT) -> list[Record]:
    """The records of the chosen molecules, in the order of their hash."""
    wheel = packages.file("pypi", CHEMICALS)
    wanted = (IDENTIFIERS, WIKIDATA, NOTEBOOK)
    texts = {name[10:]: data.decode() for name, data in members(wheel, lambda n: n.endswith(wanted))}
    properties = _properties(texts)
    chosen = []
    with rdBase.BlockLogs():
        for row in _rows(texts[IDENTIFIERS]):
            name = common_name(row)
            if name and row.cas in properties:
                found = _symbols(row.smiles)
                if found is not None:
                    chosen.append((row, name, *found))
    counts = Counter(symbol for *_, symbols in chosen for symbol in set(symbols))
    kept = [one for one in chosen if all(counts[symbol] >= SEEN for symbol in one[3])]
    kept.sort(key=lambda one: digest(one[0].cas))
    return [_record(row, name, smiles, properties[row.cas]) for row, name, smiles, _ in kept[:count]]


def common_name(row: Row) -> str | None:
    """The first synonym of 4 to 28 letters, spaces and hyphens that is neither IUPAC's nor a code."""
    for name in row.synonyms:
        letters = re.fullmatch(r"[a-z][a-z -]{2,26}[a-z]", name)
        if letters and name != row.iupac and re.search("[aeiouy]", name):
            return name
    return None


def _rows(table: str) -> Iterator[Row]:
    for line in table.splitlines():
        fields = line.split("\t")
        if fields[7]:
            yield Row(fields[1], fields[4], fields[6], fields[7], fields[8:])


def _properties(texts: dict[str, str]) -> dict[str, dict[str, float]]:
    """CAS number ("50-00-0") -> measured values; the tables write it as 50000 and as 50-00-0."""
    found: dict[str, dict[str, float]] = {}
    for table in (WIKIDATA, NOTEBOOK):
        for line in csv.DictReader(io.StringIO(texts[table]), delimiter="\t"):
            cas = line["CAS"].replace("-", "")
            values = found.setdefault(f"{cas[:-3]}-{cas[-3:-1]}-{cas[-1]}", {})
            for name in ("Tm", "Tb", "T_flash", "RI"):
                if line.get(name):
                    values.setdefault(name, float(line[name]))
    return {cas: values for cas, values in found.items() if values}


def _symbols(smiles: str) -> tuple[str, list[str]] | None:
    """(canonical SMILES, SELFIES symbols) of a molecule that fits the rule, else None."""
    mol = Chem.MolFromSmiles(smiles) if "." not in smiles else None
    if mol is None or mol.GetNumHeavyAtoms() < 3:
        return None
    atoms = list(mol.GetAtoms())
    elements = {atom.GetSymbol() for atom in atoms}
    if not elements <= ELEMENTS or "C" not in elements or any(atom.GetIsotope() for atom in atoms):
        return None
    canonical = Chem.MolToSmiles(mol)
    try:
        text = selfies.encoder(canonical)
    except selfies.EncoderError:
        return None
    symbols = list(selfies.split_selfies(text))
    back = Chem.MolFromSmiles(selfies.decoder(text)) if len(symbols) <= LONGEST else None
    return (canonical, symbols) if back is not None and Chem.MolToSmiles(back) == canonical else None


def _record(row: Row, name: str, smiles: str, measured: dict[str, float]) -> Record:
    mol = Chem.MolFromSmiles(smiles)
    facts = Facts(
        name, row.iupac, rdMolDescriptors.CalcMolFormula(mol), mol, Descriptors.MolWt(mol),
        measured.get("Tm"), measured.get("Tb"), measured.get("T_flash"), measured.get("RI"),
    )  # fmt: skip
    return {
        "key": f"cas/{row.cas}",
        "split": split(f"molecule/{row.inchikey.split('-')[0]}"),
        "molecule": smiles,
        "name": name,
        "iupac": row.iupac,
        "sentence": sentences(row.cas, facts),
        "description": descriptions(row.cas, facts),
    }
