"""`molecule.selfies`: a molecule as SELFIES symbols, and every string of symbols a molecule.

SMILES str, SELFIES str or `rdkit.Chem.Mol` -> Codes.ids int64 [n], n = symbols -> canonical SMILES, a `Smiles`.
A plain str made of SELFIES symbols alone counts as SELFIES; where that could be wrong ("[C]"), wrap it in
`Smiles` or `SelfiesText`, as `decode` and `variants` do.

A SMILES or Mol is brought to its canonical SMILES without explicit hydrogens first, so equal molecules have equal codes; a SELFIES
string is taken symbol by symbol as written, so `variants` can give other orders of the same molecule. Both
are decoded again at once: an item whose canonical SMILES does not come back is refused, never changed in
silence. Tetrahedral and E/Z stereo, isotopes, charges, radicals and several fragments (with ".") are kept;
whether an atom was written aromatic is not (RDKit perceives it again).

Papers: Krenn et al. 2020 (arXiv 1905.13741), Lo et al. 2023 (SELFIES 2, arXiv 2302.03620).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rdkit import Chem, rdBase

from unitok.modality import BadCodes, BadItem, Codes, Item, Legal, Modality, Spec

from . import structure
from .align import rings, rules
from .symbols import (
    ALPHABET,
    DOT,
    WIDE,
    SelfiesText,
    Smiles,
    bound,
    foreign,
    is_atom,
    read_alphabet,
    split,
    valences,
)

if TYPE_CHECKING:
    from PIL import Image

RINGS = 99
"""SMILES has two digits for rings."""
FREE = 200
"""With fewer symbols there cannot be so many rings."""


class Selfies(Modality):
    """Molecules as SELFIES symbols.

    Args:
        constraints: the SELFIES preset of how many bonds an atom may have: "default", "octet_rule" or
            "hypervalent"; lowered where RDKit permits fewer. Part of the fingerprint.
        longest: the most symbols of one molecule.
        alphabet: None for the 391 symbols of everyday molecules; "wide" for some 2,000, with all elements,
            charges and isotopes; or a file of symbols, one a line.
    """

    suffixes = structure.SUFFIXES

    def __init__(
        self, constraints: str = "default", longest: int = 192, alphabet: str | Path | None = None
    ) -> None:
        if longest < 1:
            raise ValueError(f"longest={longest} is out of range: a molecule has at least one symbol")
        path = ALPHABET if alphabet is None else WIDE if alphabet == "wide" else Path(alphabet)
        self.symbols = read_alphabet(path)
        self.table = valences(self.symbols, constraints)
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._atoms = sum(map(is_atom, self.symbols))
        self.rules = rules(self.symbols, self.table)
        # Some of a wide alphabet have more hydrogens than bonds: SELFIES refuses them, and they are never legal.
        self._full = {one for one, rule in self.rules.items() if not rule.what and rule.size < 0}
        self._openers = self._spans(range(self._atoms))
        self._ranges = self._spans(range(len(self.symbols)))
        self._ringless = self._spans([i for i, one in enumerate(self.symbols) if "Ring" not in one])
        meaning = json.dumps(["selfies 2", self.symbols, self.table])
        digest = hashlib.sha256(meaning.encode()).hexdigest()
        self.spec = Spec("molecule", len(self.symbols), (1, longest), fingerprint=digest)

    # -- items to codes -------------------------------------------------------------------------------

    def encode(self, items: Sequence[Item]) -> list[Codes]:
        """Molecules to symbols, int64 [n] each.

        Raises:
            BadItem: not a molecule, a symbol outside the alphabet, too long, or not kept by SELFIES.
        """
        out = []
        with bound(self.table) as selfies:
            for index, item in enumerate(items):
                try:
                    symbols = self._symbols(item, selfies)
                    out.append(Codes(torch.tensor(self._lookup(symbols), dtype=torch.int64)))
                except ValueError as error:
                    raise BadItem(index, str(error)) from error
        return out

    def _symbols(self, item: Item, selfies: Any) -> list[str]:
        """The symbols of one item, checked to decode to the same molecule."""
        if isinstance(item, str):
            symbols = split(item)
            if symbols is not None:
                self._lookup(symbols)  # names an unknown symbol before RDKit stumbles over it
                self._molecule(item, selfies)
                return symbols
            mol = _smiles_or_selfies(item)
        elif isinstance(item, Chem.Mol):
            mol = structure.bare(item)
        else:
            raise ValueError(f"{type(item).__name__} is no molecule: give SMILES, SELFIES or an RDKit Mol")
        structure.check(mol)
        longest = self.spec.length[1]
        if longest is not None and mol.GetNumAtoms() > longest:  # before minutes go into its canonical order
            raise ValueError(
                f"{mol.GetNumAtoms()} atoms are too many for {longest} symbols: leave the molecule out (option longest)"
            )
        return self._write(structure.canonical(mol), selfies)

    def _write(self, smiles: str, selfies: Any) -> list[str]:
        """The symbols of a SMILES whose canonical form comes back from them, else ValueError."""
        reason = ""
        for rewrite in (str, structure.kekule):  # the second where SELFIES cannot find the double bonds
            try:
                text = selfies.encoder(rewrite(smiles))
            except selfies.EncoderError as error:
                reason = " ".join(str(error).split())[:120]
                continue
            back = structure.canonical(self._molecule(text, selfies))
            if back == smiles:
                return list(selfies.split_selfies(text))
            reason = f"it comes back as {back}"
        raise ValueError(f"SELFIES cannot keep {smiles} ({reason}): leave this molecule out")

    def _lookup(self, symbols: Sequence[str]) -> list[int]:
        unknown = next((s for s in symbols if s not in self._ids), None)
        if unknown is not None:
            raise ValueError(
                f"symbol {unknown} is not in the alphabet of {len(self.symbols)}: leave the molecule out, or "
                'take alphabet="wide", or a file with the symbol added (which are other vocabularies)'
            )
        longest = self.spec.length[1]
        if longest is not None and len(symbols) > longest:
            raise ValueError(f"{len(symbols)} symbols are too many: at most {longest} (option longest)")
        full = next((s for s in symbols if s in self._full), None)
        if full is not None:
            raise ValueError(f"symbol {full} has more hydrogens than bonds: leave the molecule out")
        ids = [self._ids[s] for s in symbols]
        self._check(ids)
        return ids

    def _check(self, ids: Sequence[int]) -> None:
        """ValueError unless every fragment opens with an atom."""
        starts = [0] + [i + 1 for i, one in enumerate(ids) if self.symbols[one] == DOT]
        for start in starts:
            if start >= len(ids) or ids[start] >= self._atoms:
                found = self.symbols[ids[start]] if start < len(ids) else "nothing"
                raise ValueError(
                    f"a fragment begins with {found} at symbol {start}: the first must be an atom"
                )
        count = self._rings(ids)
        if count > RINGS:
            raise ValueError(f"{count} rings are too many: SMILES can number {RINGS}")

    def _rings(self, ids: Sequence[int]) -> int:
        """How many rings these symbols close; 0 where they are too few to matter."""
        return rings([self.symbols[i] for i in ids], self.rules) if len(ids) >= FREE else 0

    # -- codes to items -------------------------------------------------------------------------------

    def decode(self, codes: Sequence[Codes]) -> list[Item]:
        """Symbols to canonical SMILES that RDKit reads. Any prefix of legal codes that does not end in "." is a molecule.

        Raises:
            BadCodes: no codes, too many, out of range, or a fragment that does not begin with an atom.
        """
        out = []
        with bound(self.table) as selfies:
            for one in codes:
                ids = one.ids.tolist()
                outside = next((i for i in ids if not 0 <= i < len(self.symbols)), None)
                if outside is not None:
                    raise BadCodes(
                        f"code {outside} is out of range: symbols are 0 to {len(self.symbols) - 1}"
                    )
                try:
                    self._lookup([self.symbols[i] for i in ids])
                    text = "".join(self.symbols[i] for i in ids)
                    smiles = structure.canonical(self._molecule(text, selfies))
                except ValueError as error:
                    raise BadCodes(str(error)) from error
                out.append(Smiles(smiles if structure.readable(smiles) else selfies.decoder(text)))
        return out

    @staticmethod
    def _molecule(text: str, selfies: Any) -> Chem.Mol:
        """The structure of a SELFIES string, under the bond table that is set."""
        try:
            with rdBase.BlockLogs():
                mol = Chem.MolFromSmiles(selfies.decoder(text))
        except selfies.DecoderError as error:
            raise ValueError(f"{text} is not SELFIES ({' '.join(str(error).split())[:80]})") from error
        if mol is None or mol.GetNumAtoms() == 0:
            raise ValueError(f"{text} is not a molecule for RDKit: leave it out")
        return mol

    def legal(self, prefix: Sequence[int]) -> Legal:
        """An atom first, in each fragment; then any symbol. A body does not end after a dot."""
        if not prefix or self.symbols[prefix[-1]] == DOT:
            return Legal(self._openers, end=False)
        # A ring that is read as a digit closes none, but is left out all the same.
        return Legal(self._ranges if self._rings(prefix) < RINGS else self._ringless, end=True)

    def _spans(self, ids: Sequence[int]) -> tuple[range, ...]:
        """These symbols without the ones that are never legal, as ranges; the dot has its own."""
        spans: list[range] = []
        for i in ids:
            if self.symbols[i] in self._full:
                continue
            if spans and spans[-1].stop == i and self.symbols[i] != DOT:
                spans[-1] = range(spans[-1].start, i + 1)
            else:
                spans.append(range(i, i + 1))
        return tuple(spans)

    def shortest_end(self, prefix: Sequence[int]) -> int:
        """1 where an atom is due, else 0."""
        return int(not prefix or self.symbols[prefix[-1]] == DOT)

    # -- files, pictures, comparison ------------------------------------------------------------------

    def mol(self, item: Item) -> Chem.Mol:
        """The RDKit structure of any item that `encode` takes. ValueError where there is none."""
        if isinstance(item, Chem.Mol):
            return item
        if split(item) is None:
            return structure.from_smiles(item)
        with bound(self.table) as selfies:
            return self._molecule(item, selfies)

    def read(self, data: bytes, suffix: str) -> Item:
        """One molecule of a .smi file (`Smiles`), or of an .sdf or .mol file (RDKit Mol)."""
        item = structure.read(data, suffix)
        return Smiles(item) if isinstance(item, str) else item

    def write(self, item: Item, suffix: str) -> bytes:
        """A .smi, .sdf or .mol file."""
        return structure.write(self.mol(item), suffix)

    def show(self, item: Item) -> Image.Image:
        """The drawn structure, 256 x 256 RGB."""
        return structure.draw(self.mol(item))

    def compare(self, a: Item, b: Item) -> dict[str, float]:
        """{"exact": same canonical SMILES, "tanimoto": Morgan similarity}."""
        return structure.compare(structure.bare(self.mol(a)), structure.bare(self.mol(b)))

    def label(self, item: Item) -> str:
        """Canonical SMILES."""
        return structure.canonical(structure.bare(self.mol(item)))

    def variants(self, item: Item, count: int) -> list[Item]:
        """The item, then SELFIES strings of the same molecule with its atoms in other orders."""
        mol = structure.bare(self.mol(item))
        smiles = structure.canonical(mol)
        seed = int.from_bytes(hashlib.sha256(smiles.encode()).digest()[:3], "big")
        out: list[Item] = [item]
        with bound(self.table) as selfies:
            seen = {"".join(self._symbols(item, selfies))}
            for form in Chem.MolToRandomSmilesVect(mol, 3 * count, randomSeed=seed + 1) if count > 1 else ():
                if len(out) == count:
                    break
                try:
                    text = selfies.encoder(form)
                    self._lookup(list(selfies.split_selfies(text)))
                    same = structure.canonical(self._molecule(text, selfies)) == smiles
                except (selfies.EncoderError, ValueError):
                    continue  # this order has no SELFIES in the alphabet; another may
                if same and text not in seen:
                    seen.add(text)
                    out.append(SelfiesText(text))
        return out[: max(count, 1)]


def _smiles_or_selfies(text: str) -> Chem.Mol:
    """The structure of a SMILES string; where it is none but looks like SELFIES, the error says so."""
    if isinstance(text, SelfiesText):
        raise ValueError(f"{foreign(text) or text!r} is no SELFIES symbol: mend the string")
    try:
        return structure.from_smiles(text)
    except ValueError as error:
        odd = foreign(text)
        if odd is None:
            raise
        raise ValueError(
            f"{odd} is no SELFIES symbol, and the whole is no SMILES: mend the string"
        ) from error
