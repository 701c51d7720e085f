"""Make the SELFIES alphabets that ship: `python tools/build_alphabet.py [--wide] [--out FILE]` (two minutes).

It is the union of
- the symbols in at least 5 molecules of PyPI `chemicals` 1.5.2 that SELFIES can keep (333 of 609),
- the symbols of SELFIES itself under each of its presets, and all its branches and rings up to three index
  symbols (stereo rings up to two),
- tetrahedral centres of S, P, Si, N+ and S+,
and of their mirror images: with "/" also "\\", with "@" also "@@".

The wide one has, besides, every symbol of `chemicals`, every element with charges from -3 to +4, the isotopes
that occur in nature and the usual radionuclides of medicine and dating, for the elements of
organic chemistry with up to four hydrogens, also with double and triple bonds.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import chemicals
import selfies
from rdkit import Chem, rdBase

from modalities.molecule.symbols import ALPHABET, WIDE, order

SEEN = 5
ORGANIC = ("B", "C", "N", "O", "P", "S", "Si", "Se")
TRACERS = tuple(
    (int(one.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")), one.lstrip("0123456789"))
    # of medicine, then of dating
    for one in [
        "3H",
        "11C",
        "14C",
        "13N",
        "15O",
        "18F",
        "22Na",
        "32P",
        "33P",
        "35S",
        "36Cl",
        "45Ca",
        "51Cr",
        "57Co",
        "58Co",
        "60Co",
        "59Fe",
        "67Ga",
        "68Ga",
        "64Cu",
        "75Se",
        "76Br",
        "82Br",
        "82Rb",
        "89Sr",
        "90Y",
        "99Tc",
        "111In",
        "123I",
        "124I",
        "125I",
        "131I",
        "133Xe",
        "137Cs",
        "153Sm",
        "177Lu",
        "186Re",
        "188Re",
        "201Tl",
        "211At",
        "223Ra",
        "10Be",
        "26Al",
        "37Ar",
        "39Ar",
        "81Kr",
        "85Kr",
        "129I",
        "222Rn",
    ]
)
TABLE = Path(chemicals.__file__).parent / "Identifiers" / "chemical identifiers pubchem large.tsv"


def molecules(table: Path) -> Iterator[list[str]]:
    """The symbols of each molecule that comes back from SELFIES as it was."""
    with rdBase.BlockLogs(), table.open(encoding="utf-8") as lines:
        for line in lines:
            mol = Chem.MolFromSmiles(line.split("\t")[4])
            if mol is None:
                continue
            smiles = Chem.MolToSmiles(mol)
            try:
                text = selfies.encoder(smiles)
            except selfies.EncoderError:
                continue
            back = Chem.MolFromSmiles(selfies.decoder(text))
            if back is not None and Chem.MolToSmiles(back) == smiles:
                yield list(selfies.split_selfies(text))


def common(table: Path, seen: int = SEEN) -> set[str]:
    """Symbols in at least `seen` molecules."""
    counts = Counter(symbol for symbols in molecules(table) for symbol in set(symbols))
    return {symbol for symbol, count in counts.items() if count >= seen}


def mirror(symbol: str) -> str:
    """The symbol with its directions or its handedness turned round."""
    turned = symbol.translate({ord("/"): "\\", ord("\\"): "/"})
    return re.sub("@+", lambda at: "@" if at[0] == "@@" else "@@", turned)


def closed(symbols: set[str]) -> list[str]:
    """The whole alphabet that follows from the common symbols, in the order of the ids."""
    for preset in ("octet_rule", "hypervalent", "default"):
        selfies.set_semantic_constraints(preset)
        symbols = symbols | selfies.get_semantic_robust_alphabet()
    symbols |= {f"[{bond}Branch{n}]" for bond in ("", "=", "#") for n in (1, 2, 3)}
    symbols |= {f"[{bond}Ring{n}]" for bond in ("", "=") for n in (1, 2, 3)}
    ways = ("-/", "-\\", "/-", "\\-", "//", "\\\\", "/\\", "\\/")
    symbols |= {f"[{way}Ring{n}]" for way in ways for n in (1, 2)}
    symbols |= {f"[{bond}C@{h}]" for bond in ("", "/") for h in ("", "H1")}
    symbols |= {"[S@]", "[P@]", "[Si@]", "[N@+1]", "[S@+1]"}
    symbols |= {mirror(symbol) for symbol in symbols}
    for symbol in list(symbols):  # "/" and "@" in one symbol have four forms
        symbols.add(re.sub("@+", lambda at: "@" if at[0] == "@@" else "@@", symbol))
    return order(list(symbols))


def systematic() -> set[str]:
    """Elements with charges, and isotopes: what a rule gives, seen or not."""
    table = Chem.GetPeriodicTable()
    symbols: set[str] = set()
    for number in range(1, 104):
        element = table.GetElementSymbol(number)
        organic = element in ORGANIC
        found = [iso for iso in range(1, 3 * number + 2) if table.GetAbundanceForIsotope(number, iso) > 0]
        tracers = [isotope for isotope, of in TRACERS if of == element]
        hydrogens = ("", "H1", "H2", "H3", "H4") if organic else ("",)
        atoms = {f"{isotope}{element}{h}" for isotope in [*found, *tracers] for h in hydrogens}
        atoms |= {f"{element}{charge:+d}" for charge in range(-3, 5) if charge}
        if organic:
            atoms |= {f"{element}H{h}{charge:+d}" for h in range(1, 5) for charge in (-1, 1)}
        symbols |= {f"[{bond}{atom}]" for atom in atoms for bond in (("", "=", "#") if organic else ("",))}
    return symbols


def main() -> None:
    """Write the alphabet and say how many symbols it has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--wide", action="store_true", help="the wide one")
    parser.add_argument("--out", type=Path, help="absent: where it ships")
    args = parser.parse_args()
    out: Path = args.out or (WIDE if args.wide else ALPHABET)
    least = 1 if args.wide else SEEN
    seen = common(TABLE, least)
    symbols = closed(seen | (systematic() if args.wide else set()))
    head = (
        "# SELFIES 2 symbols in the order of their ids; made by tools/build_alphabet.py\n"
        "# from PyPI chemicals 1.5.2. The order is part of the vocabulary: do not edit.\n"
    )
    out.write_text(head + "\n".join(symbols) + "\n", encoding="utf-8")
    print(f"{out}: {len(symbols)} symbols, {len(seen)} of them in at least {least} molecules")


if __name__ == "__main__":
    main()
