"""Which symbol makes which atom: against the attributions of the selfies package, on real and random strings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalities.molecule.align import creates, rules
from modalities.molecule.selfies import Selfies
from modalities.molecule.symbols import DOT, bound, split

TOKENIZER = Selfies(longest=232)
RULES = rules(TOKENIZER.symbols, TOKENIZER.table)
COMMON = [
    "[C]",
    "[=C]",
    "[N]",
    "[O]",
    "[#N]",
    "[F]",
    "[S]",
    "[C@@H1]",
    "[O-1]",
    "[CH0]",
    "[H]",
    "[Branch1]",
    "[=Branch1]",
    "[#Branch1]",
    "[Branch2]",
    "[=Branch2]",
    "[Branch3]",
    "[Ring1]",
    "[=Ring1]",
    "[Ring2]",
    "[Ring3]",
]


def attributed(symbols: list[str]) -> list[int]:
    """What `selfies.decoder(attribute=True)` says; its indices pass over the dots."""
    with bound(TOKENIZER.table) as selfies:
        _, tokens = selfies.decoder("".join(symbols), attribute=True)
    place = [at for at, symbol in enumerate(symbols) if symbol != DOT]
    made, atoms = [-1] * len(symbols), 0
    for token in tokens:
        if any(letter.isalpha() for letter in token.token):
            made[place[token.attribution[-1].index]] = atoms
            atoms += 1
    return made


@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.sampled_from(COMMON) | st.sampled_from([s for s in TOKENIZER.symbols if s != DOT]), max_size=40
    )
)
def test_every_string_is_aligned_as_selfies_attributes_it(symbols):
    symbols = ["[C]", *symbols]
    assert creates(symbols, RULES) == attributed(symbols)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from(COMMON), max_size=12), min_size=1, max_size=4))
def test_fragments_begin_anew(parts):
    # One fragment at a time: attributions of later ones are shifted where a length is cut off by the dot.
    wanted, atoms = [], 0
    for part in parts:
        alone = attributed(["[N]", *part])
        wanted += [at + atoms if at >= 0 else -1 for at in alone] + [-1]
        atoms += max(alone) + 1
    found = split(DOT.join("".join(["[N]", *part]) for part in parts))
    assert creates(found, RULES) == wanted[:-1]


@pytest.mark.parametrize(
    "smiles", ["CC(=O)Oc1ccccc1C(=O)O", "[Na+].[Cl-]", "C[C@H](N)C(=O)O", "[2H]C([2H])O", "C#N"]
)
def test_atoms_are_numbered_as_rdkit_numbers_them(smiles):
    codes = TOKENIZER.encode([smiles])[0]
    symbols = [TOKENIZER.symbols[i] for i in codes.ids.tolist()]
    mol = TOKENIZER.mol("".join(symbols))
    made = [at for at in creates(symbols, RULES) if at >= 0]
    assert made == list(range(mol.GetNumAtoms()))
    by_atom = [symbol for symbol, at in zip(symbols, creates(symbols, RULES), strict=True) if at >= 0]
    for symbol, atom in zip(by_atom, mol.GetAtoms(), strict=True):
        assert atom.GetSymbol() in symbol


def test_what_is_no_symbol_has_no_rule():
    with pytest.raises(ValueError, match="is no SELFIES symbol"):
        rules(["[C]", "C"], {"?": 8})
