"""molecule.selfies: what comes back, what is legal, what is refused."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
import selfies as package
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from modalities.molecule import structure
from modalities.molecule.selfies import RINGS, Selfies
from modalities.molecule.symbols import (
    PRESETS,
    SelfiesText,
    Smiles,
    _permitted,
    bound,
    is_atom,
    read_alphabet,
    split,
    valences,
)
from unitok.modality import BadCodes, BadItem, Codes
from unitok.testing import conforms

MOLECULES = Selfies()
DEMO = Path(__file__).parents[3] / "recipes" / "demo" / "molecules.jsonl.gz"
REAL = [
    "CC(=O)Oc1ccccc1C(=O)O",  # aspirin
    "C[C@H](N)C(=O)O",  # L-alanine
    "C/C=C/C(=O)/C=C\\Cl",  # E and Z
    "[Na+].[Cl-]",  # two fragments
    "CN1C=NC2=C1C(=O)N(C)C(=O)N2C",  # caffeine, kekulised
    "O=S(=O)(O)c1ccccc1[N+](=O)[O-]",
    "[2H]C([2H])([2H])O",
    "C[S@](=O)c1ccccc1",
    "[CH2]C",  # a radical
    "[Br-].[Mg+2].[c-]1ccccc1",  # SELFIES kekulises it only after RDKit has
    "[H][H]",
    "O",
]


def codes(*symbols: str) -> Codes:
    return Codes(torch.tensor([MOLECULES.symbols.index(s) for s in symbols]))


def canonical(smiles: str) -> str:
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles))


def test_conforms() -> None:
    def rewrite(smiles: str) -> str:
        return Chem.MolToSmiles(
            Chem.MolFromSmiles(smiles), canonical=False, rootedAtAtom=0, kekuleSmiles=False
        )

    conforms(MOLECULES, REAL, exact=True, invariances=[rewrite, Chem.MolFromSmiles], rebuild=Selfies)


def test_round_trip_keeps_stereo_charges_isotopes_and_fragments() -> None:
    assert MOLECULES.decode(MOLECULES.encode(REAL)) == [canonical(smiles) for smiles in REAL]


def test_mirror_images_have_other_codes() -> None:
    a, b = MOLECULES.encode(["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"])
    assert not a.ids.equal(b.ids)
    e, z = MOLECULES.encode(["C/C=C/C", "C/C=C\\C"])
    assert not e.ids.equal(z.ids)


def test_selfies_strings_are_taken_as_written() -> None:
    text = "[O][C][C]"  # the canonical form would begin with C
    [ids] = MOLECULES.encode([text])
    assert [MOLECULES.symbols[i] for i in ids.ids] == ["[O]", "[C]", "[C]"]
    assert MOLECULES.decode([ids]) == ["CCO"]


def test_the_demo_molecules_come_back() -> None:
    with gzip.open(DEMO, "rt") as lines:
        smiles = [json.loads(line)["molecule"] for line in lines][::20]
    assert len(smiles) == 200
    assert MOLECULES.decode(MOLECULES.encode(smiles)) == smiles


def walk(rng: random.Random, length: int) -> list[int]:
    """A random body through `legal`, rare symbols as likely as common ones; it may end."""
    ids: list[int] = []
    while len(ids) < length or not MOLECULES.legal(ids).end:
        ranges = MOLECULES.legal(ids).ranges
        ids.append(rng.choice([i for r in ranges for i in r]))
        if len(ids) == MOLECULES.spec.length[1] and not MOLECULES.legal(ids).end:
            ids.pop()
    return ids


def test_every_legal_string_is_a_molecule() -> None:
    rng = random.Random(0)
    bodies = [walk(rng, rng.choice([1, 2, 3, 5, 8, 13, 21, 34, 55])) for _ in range(4000)]
    with rdBase.BlockLogs():
        for smiles in MOLECULES.decode([Codes(torch.tensor(body)) for body in bodies]):
            mol = Chem.MolFromSmiles(smiles)
            assert mol is not None
            assert mol.GetNumAtoms() > 0


def test_every_symbol_in_every_place_is_a_molecule() -> None:
    """Each symbol first (atoms), after each bond order, as an index, and closing a ring."""
    heads = (["[C]"], ["[C]", "[=C]"], ["[N+1]"], ["[C]", "[Branch1]"], ["[S]", "[=C]", "[Ring1]"])
    bodies = [[s] for s in MOLECULES.symbols if is_atom(s)]
    bodies += [
        [*head, s, "[C]", "[=N]", "[Ring2]", "[C]", "[O]"] for head in heads for s in MOLECULES.symbols
    ]
    decoded = MOLECULES.decode([codes(*body) for body in bodies])
    with rdBase.BlockLogs():
        assert all(Chem.MolFromSmiles(smiles).GetNumAtoms() for smiles in decoded)


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_decoded_molecules_encode_again_or_say_why_not(seed) -> None:
    """Random bodies decode to odd molecules; encoding one again gives the same or an error, never another."""
    body = walk(random.Random(seed), 12)
    [smiles] = MOLECULES.decode([Codes(torch.tensor(body))])
    reason = ""
    try:
        again = MOLECULES.decode(MOLECULES.encode([smiles]))
    except BadItem as error:
        reason, again = error.reason, [smiles]
    known = ("", "not in the alphabet", "cannot keep", "symbols are too many", "is dative")
    assert any(words in reason if words else not reason for words in known)
    assert again in ([smiles], [canonical(smiles)])


def test_a_string_that_could_be_both_is_selfies_unless_it_says_otherwise() -> None:
    assert MOLECULES.decode(MOLECULES.encode(["[C]"])) == ["C"]
    for item in (Smiles("[C]"), Chem.MolFromSmiles("[C]"), MOLECULES.decode([codes("[CH0]")])[0]):
        assert MOLECULES.decode(MOLECULES.encode([item])) == ["[C]"]
    assert MOLECULES.mol(Smiles("[C]")).GetAtomWithIdx(0).GetTotalNumHs() == 0
    assert MOLECULES.decode(MOLECULES.encode([SelfiesText("[C]")])) == ["C"]
    with pytest.raises(BadItem, match="is no SELFIES symbol"):
        MOLECULES.encode([SelfiesText("CCO")])


def test_an_atom_comes_first_in_each_fragment() -> None:
    atoms = MOLECULES.legal([]).ranges
    assert [len(r) for r in atoms] == [sum(map(is_atom, MOLECULES.symbols))]
    assert not MOLECULES.legal([]).end
    dot = MOLECULES.symbols.index(".")
    carbon = MOLECULES.symbols.index("[C]")
    assert MOLECULES.legal([carbon, dot]) == MOLECULES.legal([])
    assert MOLECULES.shortest_end([carbon, dot]) == 1
    assert MOLECULES.legal([carbon]).end
    for bad in (["[Branch1]", "[C]"], ["[C]", "."], ["[C]", ".", "[Ring1]"], ["."], []):
        with pytest.raises(BadCodes, match="the first must be an atom"):
            MOLECULES.decode([codes(*bad)])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("xyz", "is not SMILES"),
        ("C1CC", "is not SMILES|no possible molecule"),
        ("C(C)(C)(C)(C)C", "Explicit valence for atom # 0 C, 5"),
        ("c1cccc1C", "Can't kekulize"),
        ("CC*", r"atom 2 is the wildcard '\*'"),
        ("[CH3:1]C", "atom map number"),
        ("CC>>CO", "is a reaction"),
        ("N->[Fe]", "is dative"),
        ("C" * 300, "300 atoms are too many for 192 symbols"),
        ("C1CC1" * 60, "symbols are too many: at most 192"),
        ("C" * 6000, "6000 atoms are too many: a molecule here has at most 5000"),
        ("C" * 60_000, "has more than 50000 characters"),
        ("O=Ic1ccccc1", "SELFIES cannot keep"),
        ("[13CH4]", r"symbol \[13CH4\] is not in the alphabet of 391"),
        ("[C][Foo]", r"\[Foo\] is no SELFIES symbol"),
        ("[Branch1][C][C]", "begins with .Branch1. at symbol 0"),
        ("[C]..[C]", "the first must be an atom"),
        (Chem.Mol(), "the molecule is empty"),
        ("\u2014O", r"has the character U\+2014: SMILES are ASCII"),  # RDKit would read water
        (Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False), "no possible molecule .Explicit valence"),
        (Chem.MolFromSmarts("[#6]~[#7]"), "bond 0 is unspecified"),
        (None, "NoneType is no molecule"),
    ],
)
def test_bad_items_name_the_reason(item, words) -> None:
    with pytest.raises(BadItem, match=words) as caught:
        MOLECULES.encode(["CCO", item])
    assert caught.value.index == 1


def test_explicit_hydrogens_are_those_of_the_formula() -> None:
    full = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    assert MOLECULES.encode([full])[0].ids.equal(MOLECULES.encode(["CCO"])[0].ids)
    assert MOLECULES.label(full) == "CCO"
    assert MOLECULES.compare(full, "CCO") == {"exact": 1.0, "tanimoto": 1.0}
    assert (
        MOLECULES.label(MOLECULES.decode(MOLECULES.encode([Chem.MolFromSmiles("[2H]O[2H]")]))[0])
        == "[2H]O[2H]"
    )


def test_bad_codes_name_the_reason() -> None:
    with pytest.raises(BadCodes, match="code 391 is out of range"):
        MOLECULES.decode([Codes(torch.tensor([0, 391]))])
    with pytest.raises(BadCodes, match="193 symbols are too many"):
        MOLECULES.decode([codes(*["[C]"] * 193)])


def test_hypervalent_iodine_needs_its_preset() -> None:
    wide = Selfies(constraints="hypervalent")
    assert wide.decode(wide.encode(["O=Ic1ccccc1", "FI(F)(F)(F)F"])) == ["O=Ic1ccccc1", "FI(F)(F)(F)F"]
    assert wide.spec.fingerprint != MOLECULES.spec.fingerprint
    odd = [wide.symbols.index(s) for s in ("[C]", "[O+1]", "[=I]")]
    [smiles] = wide.decode([Codes(torch.tensor(odd))])  # RDKit's own canonical SMILES is one it cannot read
    assert Chem.MolFromSmiles(smiles).GetNumAtoms() == 3


def test_the_state_of_the_selfies_package_is_left_alone() -> None:
    before = package.get_preset_constraints("octet_rule")
    package.set_semantic_constraints("octet_rule")
    try:
        assert MOLECULES.decode(MOLECULES.encode(["CS(C)(=O)=O"])) == ["CS(C)(=O)=O"]
        with pytest.raises(BadItem):
            MOLECULES.encode(["nonsense"])
        assert package.get_semantic_constraints() == before
    finally:
        package.set_semantic_constraints("default")


def test_valences_never_exceed_what_rdkit_permits() -> None:
    table = valences(MOLECULES.symbols, "default")
    assert table["C"] == 4
    assert table["N+1"] == 4
    assert table["Si"] == 4  # SELFIES says 8
    assert table["F-1"] == 0
    assert _permitted("S", 0) == 6
    with pytest.raises(ValueError, match="constraints 'lax' are not known"):
        valences(MOLECULES.symbols, "lax")
    with bound(table) as inside:
        assert inside.get_semantic_constraints() == table


@pytest.mark.parametrize("suffix", [".smi", ".sdf", ".mol"])
def test_files_keep_the_molecule(suffix, tmp_path) -> None:
    unstated = ["CC=CC", "CC(O)C(N)C", "CN=NC"]  # stereo that nobody stated must not appear in a drawing
    for number, smiles in enumerate([*REAL, *unstated]):
        path = tmp_path / f"{number}{suffix}"
        MOLECULES.save(smiles, path)
        assert MOLECULES.compare(smiles, MOLECULES.load(path))["exact"] == 1.0, smiles


def test_bad_files_name_the_reason(tmp_path) -> None:
    for name, data, words in (
        ("two.smi", b"CCO\nCC\n", "has 2 lines"),
        ("empty.sdf", b"", "has 0 records"),
        ("two.sdf", 2 * structure.write(Chem.MolFromSmiles("C"), ".sdf"), "has 2 records"),
        ("cut.mol", structure.write(Chem.MolFromSmiles("CCO"), ".mol")[:120], "is damaged"),
        ("latin.sdf", b"\xff\xfe", "is not UTF-8"),
        ("x.pdb", b"", "cannot be read from '.pdb'"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=words):
            MOLECULES.load(tmp_path / name)


def test_a_line_of_a_file_may_have_a_mark_a_title_and_coordinates() -> None:
    for data, wanted in (
        (b"\xef\xbb\xbfCCO\r\n", "CCO"),
        ("CCO caf\u00e9 au lait\n".encode(), "CCO"),
        (b"CO |(0,0,1;1.4,0,1)| wood alcohol\n", "CO |(0,0,1;1.4,0,1)|"),
    ):
        item = MOLECULES.read(data, ".smi")
        assert item == wanted
        assert MOLECULES.label(item) == wanted.partition(" ")[0]


def test_show_compare_and_label() -> None:
    picture = MOLECULES.show("CCO")
    assert picture.size == (256, 256)
    assert picture.mode == "RGB"
    assert len(set(picture.getdata())) > 2
    assert MOLECULES.compare("OCC", "[C][C][O]") == {"exact": 1.0, "tanimoto": 1.0}
    other = MOLECULES.compare("CCO", "CCN")
    assert other["exact"] == 0.0
    assert 0 < other["tanimoto"] < 1
    assert MOLECULES.label("OCC") == "CCO"


def test_what_is_too_large_to_draw_is_shown_as_its_formula() -> None:
    chain = "C" * 1200
    picture = MOLECULES.show(chain)
    assert picture.size == (256, 256)
    assert len(set(picture.getdata())) > 2
    with pytest.raises(ValueError, match="1200 atoms are too many to lay out, at most 1000: write .smi"):
        MOLECULES.write(chain, ".sdf")
    assert MOLECULES.write(chain, ".smi").decode().strip() == chain


def test_variants_are_other_codes_of_the_same_molecule() -> None:
    forms = MOLECULES.variants(REAL[0], 8)
    assert forms[0] == REAL[0]
    assert len(forms) == 8
    bodies = MOLECULES.encode(forms)
    assert len({tuple(body.ids.tolist()) for body in bodies}) == 8
    assert set(MOLECULES.decode(bodies)) == {canonical(REAL[0])}
    assert MOLECULES.variants(REAL[0], 8) == forms
    assert MOLECULES.variants("O", 8) == ["O"]
    assert MOLECULES.variants("O", 1) == ["O"]


def test_alphabet() -> None:
    symbols = MOLECULES.symbols
    assert len(symbols) == 391
    assert package.get_semantic_robust_alphabet() <= set(symbols)
    for symbol in symbols:
        assert split(symbol) == [symbol]
        mirrored = symbol.translate({ord("/"): "\\", ord("\\"): "/"})
        assert mirrored in symbols, mirrored
    assert symbols[-1] == "."


def test_options_are_checked(tmp_path) -> None:
    with pytest.raises(ValueError, match="longest=0 is out of range"):
        Selfies(longest=0)
    assert Selfies(longest=500).spec.length == (1, 500)
    small = tmp_path / "small.txt"
    small.write_text("# three\n[C]\n[O]\n.\n")
    few = Selfies(alphabet=small)
    assert few.spec.size == 3
    assert few.encode(["CO.C"])[0].ids.tolist() == [0, 2, 0, 1]
    for text, words in (
        ("[C]\n[C]\n", "stands twice"),
        ("[Xx9]\n", "no SELFIES symbol"),
        ("[Ring1]\n[C]\n", "atoms, then branches"),
        ("[Ring1]\n", "at least one atom"),
        ("", "at least one atom"),
        (b"[C]\n\xff\n", "small.txt: byte 4 is not UTF-8"),
    ):
        small.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ValueError, match=words):
            read_alphabet(small)
    small.write_text("\ufeff[C]\n[O]\n")
    assert read_alphabet(small) == ("[C]", "[O]")


def test_ring_labels_stay_below_a_hundred() -> None:
    """SMILES numbers rings with two digits: 99 of them decode, and no more are legal or accepted."""
    long = Selfies(longest=1000)

    def ladder(count: int) -> list[str]:
        return ["[U]"] * 4 + ["[U]", "[Ring1]", "[Ring1]"] * count

    [smiles] = long.decode([codes(*ladder(RINGS))])
    assert Chem.MolFromSmiles(smiles).GetNumAtoms() == 4 + RINGS
    with pytest.raises(BadCodes, match="100 rings are too many"):
        long.decode([codes(*ladder(RINGS + 1))])
    few, full = (long.legal(codes(*ladder(count)).ids.tolist()) for count in (RINGS - 1, RINGS))
    legal = {long.symbols[i] for r in full.ranges for i in r}
    assert legal == {symbol for symbol in long.symbols if "Ring" not in symbol}
    assert {long.symbols[i] for r in few.ranges for i in r} == set(long.symbols)


def test_the_wide_alphabet_has_all_of_the_plain_one_and_what_is_rare() -> None:
    wide = Selfies(alphabet="wide")
    assert set(MOLECULES.symbols) <= set(wide.symbols)
    assert wide.spec.fingerprint != MOLECULES.spec.fingerprint
    rare = ["[123I]c1ccccc1", "[11CH3]O", "[39Ar]", "[Ru-2]", "[57Fe]", "C[Se+](C)C"]
    assert [wide.label(back) for back in wide.decode(wide.encode(rare))] == [
        wide.label(smiles) for smiles in rare
    ]
    with pytest.raises(
        BadItem, match='symbol \\[123I\\] is not in the alphabet of 391: .* take alphabet="wide"'
    ):
        MOLECULES.encode(rare)


@pytest.mark.parametrize("constraints", PRESETS)
def test_symbols_with_more_hydrogens_than_bonds_are_never_legal(constraints) -> None:
    wide = Selfies(constraints, alphabet="wide")
    legal = [
        {i for some in wide.legal(ids).ranges for i in some} for ids in ([], [wide.symbols.index("[C]")])
    ]
    with bound(wide.table) as selfies:
        for i, symbol in enumerate(wide.symbols[: len(legal[1])]):
            if not is_atom(symbol):
                continue
            try:
                selfies.decoder(symbol)
            except selfies.DecoderError:
                assert all(i not in some for some in legal)
                with pytest.raises(BadCodes, match="has more hydrogens than bonds"):
                    wide.decode([Codes(torch.tensor([i]))])
            else:
                assert all(i in some for some in legal)
    with pytest.raises(BadItem, match=r"symbol \[BH4\+1\] has more hydrogens than bonds"):
        wide.encode(["[BH4+1]"])


def test_golden_ids() -> None:
    """The ids of the shipped tokenizer change only with its fingerprint, and that is a decision."""
    kept = json.loads(
        (Path(__file__).parents[2] / "golden" / "molecule_selfies.json").read_text(encoding="utf-8")
    )
    assert MOLECULES.spec.fingerprint == kept["fingerprint"]
    for item, ids in kept["items"].items():
        assert MOLECULES.encode([item])[0].ids.tolist() == ids
