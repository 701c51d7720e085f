"""Make the SELFIES alphabet that ships: `python tools/build_alphabet.py [--out FILE]` (two minutes).

It is the union of
- the symbols in at least 5 molecules of PyPI `chemicals` 1.5.2 that SELFIES can keep (333 of 609),
- the symbols of SELFIES itself under each of its presets, and all its branches and rings up to three index
  symbols (stereo rings up to two),
- tetrahedral centres of S, P, Si, N+ and S+,
and of their mirror images: with "/" also "\\", with "@" also "@@".
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

from modalities.molecule.symbols import ALPHABET, order

SEEN = 5
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


def main() -> None:
    """Write the alphabet and say how many symbols it has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=ALPHABET)
    out: Path = parser.parse_args().out
    seen = common(TABLE)
    symbols = closed(seen)
    head = (
        "# SELFIES 2 symbols in the order of their ids; made by tools/build_alphabet.py\n"
        "# from PyPI chemicals 1.5.2. The order is part of the vocabulary: do not edit.\n"
    )
    out.write_text(head + "\n".join(symbols) + "\n", encoding="utf-8")
    print(f"{out}: {len(symbols)} symbols, {len(seen)} of them in at least {SEEN} molecules")


if __name__ == "__main__":
    main()
