"""RDKit structures: from strings and files and back, drawn, compared. Nothing here knows of tokens."""

from __future__ import annotations

import io
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdDepictor, rdFingerprintGenerator, rdMolDescriptors
from rdkit.Chem.Draw import rdMolDraw2D

if TYPE_CHECKING:
    from PIL import Image

_PLAIN = {Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC}
SUFFIXES = (".smi", ".sdf", ".mol")
LINE = re.compile(r"\S+(?:\s+\|.*\|)?")
"""A line of a .smi file up to its title: SMILES, or CXSMILES."""
DRAWN = 1000
"""Atoms that RDKit lays out in the plane within seconds; the time grows with more than their square."""
LARGEST = 5000
"""Atoms of a molecule. RDKit's canonical order takes seconds there; for four times as many the process ends."""
CHARACTERS = 10 * LARGEST
"""Of a SMILES."""
SKELETON = 14
"""Letters of an InChIKey that say the connections alone: no stereo, isotopes or charges of protons."""


def from_smiles(text: str) -> Chem.Mol:
    """The structure of a SMILES string.

    Raises:
        ValueError: not SMILES, a reaction, an impossible valence, empty, or more than `LARGEST` atoms.
    """
    if not text.strip():
        raise ValueError("the SMILES is empty: a molecule has at least one atom")
    if len(text) > CHARACTERS and len(text.split()[0]) > CHARACTERS:
        raise ValueError(f"{_short(text)} has more than {CHARACTERS} characters: leave it out")
    odd = _foreign(text)
    if odd:
        raise ValueError(f"{_short(text)} has the character U+{ord(odd):04X}: SMILES are ASCII, remove it")
    if ">" in text and "->" not in text:
        raise ValueError(f"{_short(text)} is a reaction: give one molecule")
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
        if mol is not None:
            return sized(mol)
        raw = Chem.MolFromSmiles(text, sanitize=False)
        if raw is None:
            raise ValueError(
                f"{_short(text)} is not SMILES: check brackets, ring numbers and element symbols"
            )
        problems = [problem.Message() for problem in Chem.DetectChemistryProblems(raw)]
    reason = problems[0] if problems else "RDKit cannot sanitise it"
    raise ValueError(f"{_short(text)} is no possible molecule ({reason}): mend the structure")


def parsed(smiles: str) -> Chem.Mol | None:
    """The structure of a SMILES; None if it is empty, too large or no molecule."""
    if _foreign(smiles) or len(smiles) > CHARACTERS:
        return None
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    return mol if mol is not None and 0 < mol.GetNumAtoms() <= LARGEST else None


def _foreign(text: str) -> str:
    """The first character of a SMILES that is none of ASCII's ("" if none): RDKit reads over some, at either end."""
    return next((one for one in text.split()[0] if not " " < one < "\x7f"), "") if text.strip() else ""


def sized(mol: Chem.Mol) -> Chem.Mol:
    """The molecule, if it is not too large.

    Raises:
        ValueError: more than `LARGEST` atoms.
    """
    if mol.GetNumAtoms() > LARGEST:
        raise ValueError(f"{mol.GetNumAtoms()} atoms are too many: a molecule here has at most {LARGEST}")
    return mol


def bare(mol: Chem.Mol) -> Chem.Mol:
    """The molecule without the hydrogens that a formula leaves out; coordinates of the rest are kept.

    Raises:
        ValueError: an impossible valence, or aromatic atoms that have no single and double bonds.
    """
    try:
        with rdBase.BlockLogs():
            return sized(Chem.RemoveHs(mol))
    except Chem.MolSanitizeException as error:
        raise ValueError(f"it is no possible molecule ({error}): mend the structure") from error


@lru_cache(maxsize=2**16)  # asked for again by every list that a molecule is looked up in
def skeleton(smiles: str) -> str | None:
    """The connections of a molecule: the first 14 letters of its InChIKey, the same for all stereoisomers.

    None if it is no molecule, or has no InChI.
    """
    mol = parsed(smiles)
    if mol is None:
        return None
    with rdBase.BlockLogs():
        key = Chem.MolToInchiKey(mol)
    return str(key[:SKELETON]) or None


def check(mol: Chem.Mol) -> None:
    """Refuse what SMILES with plain bonds cannot say.

    Raises:
        ValueError: no atoms, a wildcard, an atom map, a dative or other special bond.
    """
    if mol.GetNumAtoms() == 0:
        raise ValueError("the molecule is empty: it needs at least one atom")
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 0:
            raise ValueError(f"atom {atom.GetIdx()} is the wildcard '*': name its element")
        if atom.GetAtomMapNum():
            raise ValueError(f"atom {atom.GetIdx()} has an atom map number, which is not kept: remove it")
    for bond in mol.GetBonds():
        if bond.GetBondType() not in _PLAIN:
            kind = str(bond.GetBondType()).lower()
            raise ValueError(f"bond {bond.GetIdx()} is {kind}: only single, double and triple bonds are kept")


def canonical(mol: Chem.Mol) -> str:
    """Canonical SMILES with stereo and isotopes."""
    return str(Chem.MolToSmiles(mol))


def readable(smiles: str) -> bool:
    """True if RDKit reads it (it does not always read what it writes: C[O+]=I becomes "C[O+]=[IH]")."""
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles) is not None


def kekule(smiles: str) -> str:
    """The same SMILES with alternating bonds in place of aromatic atoms."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return str(Chem.MolToSmiles(mol, kekuleSmiles=True))


def read(data: bytes, suffix: str) -> Chem.Mol | str:
    """The one molecule of a .smi file (its SMILES or CXSMILES, without a title), or of an .sdf or .mol file (the structure).

    Raises:
        ValueError: another suffix, damaged text, or not exactly one molecule.
    """
    if suffix not in SUFFIXES:
        raise ValueError(f"molecules cannot be read from {suffix!r}: use {', '.join(SUFFIXES)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8: the file is damaged") from error
    if suffix == ".smi":
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) != 1:
            raise ValueError(f"the file has {len(lines)} lines: one .smi file holds one molecule")
        return LINE.findall(lines[0])[0]
    blocks = [block for block in text.replace("\r\n", "\n").split("$$$$\n") if block.strip()]
    if len(blocks) != 1:
        raise ValueError(f"the file has {len(blocks)} records: one {suffix} file holds one molecule")
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(blocks[0])
    if mol is None:
        raise ValueError("the MOL block is damaged or its valences are impossible: RDKit cannot read it")
    return mol


def write(mol: Chem.Mol, suffix: str) -> bytes:
    """The bytes of a .smi, .sdf or .mol file; coordinates are laid out in the plane if there are none.

    Raises:
        ValueError: another suffix, or too many atoms to lay out.
    """
    if suffix not in SUFFIXES:
        raise ValueError(f"molecules cannot be written to {suffix!r}: use {', '.join(SUFFIXES)}")
    if suffix == ".smi":
        return (canonical(mol) + "\n").encode()
    mol = Chem.Mol(mol)
    if not mol.GetNumConformers():
        if mol.GetNumAtoms() > DRAWN:
            raise ValueError(
                f"{mol.GetNumAtoms()} atoms are too many to lay out, at most {DRAWN}: write .smi, or embed it first"
            )
        rdDepictor.Compute2DCoords(mol)
    Chem.FindPotentialStereoBonds(mol)  # unstated double bonds are written as such, not as they are drawn
    block = str(Chem.MolToMolBlock(mol))
    return (block + ("$$$$\n" if suffix == ".sdf" else "")).encode()


def draw(mol: Chem.Mol, size: int = 256) -> Image.Image:
    """The 2D structure on white, [size, size] RGB; of more than `DRAWN` atoms the formula."""
    from PIL import Image, ImageDraw

    if mol.GetNumAtoms() > DRAWN:
        out = Image.new("RGB", (size, size), "white")
        formula = f"{rdMolDescriptors.CalcMolFormula(mol)}\ntoo large to draw"
        ImageDraw.Draw(out).multiline_text(
            (size // 2, size // 2), formula, "black", anchor="mm", align="center"
        )
        return out
    canvas = rdMolDraw2D.MolDraw2DCairo(size, size)
    canvas.drawOptions().fixedBondLength = size / 8  # else small molecules fill the picture
    canvas.drawOptions().minFontSize = size // 24  # else the labels of large ones are too small to read
    flat = Chem.Mol(mol)
    rdDepictor.Compute2DCoords(flat)
    with rdBase.BlockLogs():
        rdMolDraw2D.PrepareAndDrawMolecule(canvas, flat)
    canvas.FinishDrawing()
    return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")


def compare(a: Chem.Mol, b: Chem.Mol) -> dict[str, float]:
    """{"exact": canonical SMILES equal, "tanimoto": of Morgan fingerprints, radius 2, 2,048 bits}."""
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    same = canonical(a) == canonical(b)
    near = DataStructs.TanimotoSimilarity(morgan.GetFingerprint(a), morgan.GetFingerprint(b))
    return {"exact": float(same), "tanimoto": float(near)}


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
